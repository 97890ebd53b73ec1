// The text of the config file that `init` writes: commented YAML for what the probe found. Writes nothing itself.
import type { EngineName } from '../config.ts';
import type { DeploymentDraft } from './draft-deployment.ts';

/** What goes into the file. `gpus` and `usdPerGpuHour` are decimal text as the user wrote it. */
export interface ConfigDraft {
  readonly url: string;
  readonly engine: EngineName;
  readonly evidence: string;
  readonly deployments: readonly DeploymentDraft[];
  /** Models of a Triton that are metered by their tokens. */
  readonly languageModels: ReadonlyMap<string, unknown>;
  readonly gpu: string;
  readonly gpus: string;
  readonly usdPerGpuHour: string;
  /** `YYYY-MM-DD`, UTC. */
  readonly priceFrom: string;
  readonly team: string;
  /** Path of the team's key relative to the config file. */
  readonly keyFile: string;
  /** What another gateway's file had and this one has not; single lines. */
  readonly notes: readonly string[];
}

/** A complete file; several models of one engine become deployments of one pool, since they share its GPUs. */
export function renderConfig(draft: ConfigDraft): string {
  const names = uniqueSlugs(draft.deployments.map(({ models: [model = ''] }) => model));
  const pools = namePools(draft.deployments);
  const deployments = draft.deployments.map((deployment, index) =>
    renderDeployment(draft, deployment, { name: names[index] ?? '', pools }),
  );
  return `# Written by \`inferometer init\`. The engine at ${draft.url} was recognised as ${draft.engine}: ${draft.evidence}.
# Check changes with \`inferometer config check\`; README.md tells of more keys.
${renderNotes(draft.notes)}
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

function renderNotes(notes: readonly string[]): string {
  return notes.length === 0 ? '' : `#\n${notes.map((note) => `# - ${note}\n`).join('')}`;
}

/** URLs that several deployments use, with the pool their GPUs are counted in once. */
function namePools(deployments: readonly DeploymentDraft[]): ReadonlyMap<string, string> {
  const users = new Map<string, number>();
  for (const { upstreams } of deployments) for (const { url } of upstreams) users.set(url, (users.get(url) ?? 0) + 1);
  const shared = [...users].filter(([, count]) => count > 1);
  return new Map(shared.map(([url], index) => [url, `engine-${index + 1}`]));
}

function renderDeployment(
  draft: ConfigDraft,
  deployment: DeploymentDraft,
  { name, pools }: { readonly name: string; readonly pools: ReadonlyMap<string, string> },
): string {
  const { models, servedModel, engine, upstreams, weight, priority, defaults } = deployment;
  const lines = [
    `  - name: ${quote(name)}`,
    `    models: [${models.map(quote).join(', ')}] # names clients may send; the first is canonical`,
    `    servedModel: ${quote(servedModel)}`,
    `    engine: ${engine}`,
    `    gpu: ${quote(draft.gpu)}`,
    `    gpusPerReplica: ${draft.gpus}`,
    '    price: main',
    ...(engine === 'triton' && !draft.languageModels.has(servedModel)
      ? ['    work: duration # metered by duration; tokens is for language models']
      : []),
    ...(weight === 1 ? [] : [`    weight: ${weight}`]),
    ...(priority === 0 ? [] : [`    priority: ${priority}`]),
    ...(Object.keys(defaults).length === 0
      ? []
      : [`    defaults: ${quoteTree(defaults)} # where the client sent none`]),
    '    upstreams:',
  ];
  const engines = upstreams.map(({ url, keyVariable }, index) => {
    const pool = pools.get(url);
    const parts = [`name: engine-${index + 1}`, `url: ${url.startsWith('${') ? JSON.stringify(url) : quote(url)}`];
    if (pool !== undefined) parts.push(`pool: ${pool}`);
    if (keyVariable !== null) parts.push(`apiKey: "\${${keyVariable}}"`);
    return `      - { ${parts.join(', ')} }${pool === undefined ? '' : ' # several models share its GPUs'}`;
  });
  return `${[...lines, ...engines].join('\n')}\n`;
}

function quoteTree(tree: unknown): string {
  return JSON.stringify(tree).replaceAll('${', () => '$${');
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
