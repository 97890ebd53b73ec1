// nginx as a plain reverse proxy for streams: the yardstick. One worker, kept connections to the engine, no buffering.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureDebianProgram } from '#test/support/install-debian.ts';
import { findFreePort } from '#src/demo/free-port.ts';
import { answers, CANDIDATE_CPU, startProgram } from '#test/bench/child.ts';

const START_TIMEOUT_MS = 5000;

/** Path of Debian's nginx, installed where it is not there. */
export function installNginx(): string {
  return ensureDebianProgram({ command: 'nginx', debianPackage: 'nginx' });
}

/** Starts Debian's nginx with a configuration of its own in `folder`; the machine's own nginx is not touched. */
export async function startNginxUnderTest(options: { folder: string; enginePort: number }) {
  const { folder, enginePort } = options;
  const command = installNginx();
  mkdirSync(folder, { recursive: true });
  const port = await findFreePort();
  const configFile = join(folder, 'nginx.conf');
  writeFileSync(configFile, renderConfig({ folder, port, enginePort }));
  const program = await startProgram({
    command,
    args: ['-c', configFile, '-p', folder, '-e', join(folder, 'error.log')],
    cpu: CANDIDATE_CPU,
    logFile: join(folder, 'output.log'),
    isReady: () => answers(`http://127.0.0.1:${port}/health`),
    startTimeoutMs: START_TIMEOUT_MS,
  });
  return { ...program, port, key: 'none' };
}

function renderConfig({ folder, port, enginePort }: { folder: string; port: number; enginePort: number }): string {
  return `
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log warn;
events { worker_connections 16384; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  client_max_body_size 64m;
  client_body_buffer_size 128k;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  upstream engine {
    server 127.0.0.1:${enginePort};
    keepalive 4096;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering on;
      proxy_read_timeout 600s;
    }
  }
}
`;
}
