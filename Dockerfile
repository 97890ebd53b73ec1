# syntax=docker/dockerfile:1
# The image of the gateway and of the simulated engines: Debian slim, one Node binary, the compiled program, no root.
# NODE_VERSION is the version package.json depends on; test/unit/ops/dockerfile.test.ts keeps the two equal.
ARG NODE_VERSION=26.10.0

FROM node:${NODE_VERSION}-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# The npm package `node` would only be a second copy of the runtime: its install script is not needed here.
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY bin bin
COPY src src
RUN npm run build

FROM node:${NODE_VERSION}-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
    && rm -rf node_modules/node node_modules/node-bin-* node_modules/node-linux-* node_modules/.bin/node

FROM debian:bookworm-slim AS runtime
# tini forwards SIGTERM and reaps what worker processes leave; libatomic and libstdc++ are what the Node binary links to
# beyond the C library, and slim Debian has no libatomic.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libatomic1 libstdc++6 tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 inferometer \
    && useradd --uid 10001 --gid inferometer --no-create-home --home-dir /var/lib/inferometer --shell /usr/sbin/nologin inferometer \
    && install --directory --owner inferometer --group inferometer --mode 0750 /var/lib/inferometer
COPY --from=build /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
COPY bin bin
COPY config/compose config/compose
ENV NODE_ENV=production \
    INFEROMETER_CONFIG=/etc/inferometer/inferometer.yaml
USER 10001:10001
VOLUME ["/var/lib/inferometer"]
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["node", "/app/config/compose/healthcheck.js", "http://127.0.0.1:8080/readyz"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tini", "--", "node", "/app/bin/inferometer.js"]
CMD ["serve"]
