// The text of the config file that `init` writes: commented YAML for what the probe found. Writes nothing itself.
import type { EngineName } from '../config.ts';

/** What goes into the file. `gpus` and `usdPerGpuHour` are decimal text as the user wrote it. */
export interface ConfigDraft {
  readonly url: string;
  readonly engine: EngineName;
  readonly evidence: string;
  readonly models: readonly string[];
  readonly gpu: string;
  readonly gpus: string;
  readonly usdPerGpuHour: string;
  /** `YYYY-MM-DD`, UTC. */
  readonly priceFrom: string;
  readonly team: string;
  /** Path of the team's key relative to the config file. */
  readonly keyFile: string;
  /** Whether the engine wants `UPSTREAM_API_KEY`. */
  readonly needsApiKey: boolean;
}

/** A complete file; several models of one engine become deployments of one pool, since they share its GPUs. */
export function renderConfig(draft: ConfigDraft): string {
  const names = uniqueSlugs(draft.models);
  const deployments = draft.models.map((model, index) => renderDeployment(draft, model, names[index] ?? model));
  return `# Written by \`inferometer init\`. The engine at ${draft.url} was recognised as ${draft.engine}: ${draft.evidence}.
# Check changes with \`inferometer config check\`; README.md explains every key.

server: { host: 0.0.0.0, port: 8080 }
admin: { host: 127.0.0.1, port: 8081, token: "\${INFEROMETER_ADMIN_TOKEN:-}" } # beyond loopback the token is required
store: { url: "sqlite:data/inferometer.db" } # several gateways: redis://host:6379/0
journal: { dir: data/journal }

# What one GPU costs per hour. A new price is a new entry of this name with a later \`from\`.
prices:
  - { name: main, gpu: ${quote(draft.gpu)}, usdPerGpuHour: ${draft.usdPerGpuHour}, from: ${draft.priceFrom}, source: "inferometer init" }

deployments:
${deployments.join('\n')}
tenancy: { authentication: [keys] }

teams:
  - name: ${draft.team}
    costCenter: ""
    keys:
      - { keyFile: ${quote(draft.keyFile)}, name: first } # a key may also stand here as key: "\${VARIABLE}"
`;
}

function renderDeployment(draft: ConfigDraft, model: string, name: string): string {
  const shared = draft.models.length > 1;
  const upstream = [`name: engine-1`, `url: ${quote(draft.url)}`];
  if (draft.needsApiKey) upstream.push('apiKey: "${UPSTREAM_API_KEY}"');
  return `  - name: ${quote(name)}
    models: [${quote(model)}] # names clients may send; the first is canonical
    servedModel: ${quote(model)}
    engine: ${draft.engine}
    gpu: ${quote(draft.gpu)}
    gpusPerReplica: ${draft.gpus}
    price: main
${shared ? '    pool: engine-1 # the models of this engine share its GPUs\n' : ''}${
    draft.engine === 'triton' ? '    work: duration # metered by duration; tokens is for language models\n' : ''
  }    upstreams:
      - { ${upstream.join(', ')} }
`;
}

/** JSON strings are YAML strings; `$` is doubled where it would open a variable. */
function quote(text: string): string {
  return JSON.stringify(text).replaceAll('${', () => '$${');
}

/** Deployment names: the last part of each model name in lower case, numbered where two would be alike. */
function uniqueSlugs(models: readonly string[]): readonly string[] {
  const taken = new Set<string>();
  return models.map((model) => {
    const last = model.split('/').at(-1) ?? model;
    const cleaned = last.toLowerCase().replace(/[^a-z0-9._-]+/g, '-');
    const trimmed = cleaned.replace(/^[^a-z0-9]+/, '').slice(0, 100);
    const slug = trimmed === '' ? 'model' : trimmed;
    let name = slug;
    for (let number = 2; taken.has(name); number += 1) name = `${slug}-${number}`;
    taken.add(name);
    return name;
  });
}
