// Reads a LiteLLM proxy configuration (`model_list` and what stands beside it) into deployment drafts; what has no counterpart becomes a
// note for the reader. Keys are never copied: a literal one becomes a variable to set. Nothing is written here.
import { readFileSync, statSync } from 'node:fs';
import { parse } from 'yaml';
import type { EngineName } from '../config.ts';
import { findTooDeep, YAML_DEPTH_MAX } from '../yaml-depth.ts';
import { type DeploymentDraft, parseBaseUrl } from './draft-deployment.ts';

export interface LitellmImport {
  readonly deployments: readonly DeploymentDraft[];
  /** Lines without secrets: what was left out and why, and what is to be set. */
  readonly notes: readonly string[];
}

/** Providers that are engines one runs oneself, by the prefix of `litellm_params.model`. */
const ENGINES: Readonly<Record<string, EngineName>> = {
  hosted_vllm: 'vllm',
  vllm: 'vllm',
  nvidia_nim: 'nim',
  triton: 'triton',
  huggingface: 'tgi',
  openai: 'openai',
  'text-completion-openai': 'openai',
  custom_openai: 'openai',
  openai_like: 'openai',
  litellm_proxy: 'openai',
  lm_studio: 'openai',
  llamafile: 'openai',
  ollama: 'openai',
  ollama_chat: 'openai',
  xinference: 'openai',
};

/** Params that are request fields, which LiteLLM sends where the client sent none. */
const REQUEST_FIELDS = [
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'top_k',
  'stop',
  'seed',
  'presence_penalty',
  'frequency_penalty',
  'reasoning_effort',
];

const READ_PARAMS = new Set(['model', 'api_base', 'api_key', 'weight', 'order', ...REQUEST_FIELDS]);
const FILE_BYTES_MAX = 4 * 1024 * 1024;
const NAME = /^[\x21-\x7e]{1,256}$/;
const VARIABLE = /^os\.environ\/([A-Za-z_]\w*)$/;

type Fields = Readonly<Record<string, unknown>>;

/** Reads the file. Throws an Error whose message says what is wrong and quotes nothing of the file. */
export function readLitellmConfig(path: string): LitellmImport {
  const text = readText(path);
  if (findTooDeep(text) !== null) throw new Error(`${path} nests deeper than ${YAML_DEPTH_MAX} levels`);
  let tree: unknown;
  try {
    tree = parse(text, { maxAliasCount: 1000 });
  } catch {
    throw new Error(`${path} is not valid YAML`);
  }
  const root = asFields(tree);
  const list = root?.['model_list'];
  if (root === null || !Array.isArray(list)) throw new Error(`${path} has no model_list`);
  const notes: string[] = [];
  const drafts: DeploymentDraft[] = [];
  for (const [index, item] of list.entries()) {
    const draft = readEntry(item, { place: `model_list[${index}]`, notes });
    if (draft !== null) drafts.push(draft);
  }
  const aliases = readAliases(root, notes);
  noteRest(root, notes);
  return { deployments: mergeDrafts(drafts).map((draft) => addAliases(draft, aliases)), notes };
}

function readText(path: string): string {
  try {
    if (statSync(path).size > FILE_BYTES_MAX) throw new Error('too large');
    return readFileSync(path, 'utf8');
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'it is too large';
    throw new Error(`cannot read ${path}: ${reason}`, { cause: error });
  }
}

function readEntry(
  item: unknown,
  context: { readonly place: string; readonly notes: string[] },
): DeploymentDraft | null {
  const { place, notes } = context;
  const skip = (why: string): null => {
    notes.push(`${place} was left out: ${why}`);
    return null;
  };
  const entry = asFields(item);
  const params = asFields(entry?.['litellm_params']);
  const name = entry?.['model_name'];
  const model = params?.['model'];
  if (entry === null || params === null || typeof name !== 'string' || typeof model !== 'string')
    return skip('it needs model_name and litellm_params.model');
  if (name.includes('*') || !NAME.test(name)) return skip('model names must be spelled out, without spaces or *');
  const slash = model.indexOf('/');
  const prefix = slash === -1 ? '' : model.slice(0, slash);
  const engine =
    ENGINES[prefix] ?? (params['custom_llm_provider'] === undefined && slash === -1 ? 'openai' : undefined);
  const base = params['api_base'];
  if (engine === undefined) return skip(`${clean(prefix)} is no engine whose GPUs are your own`);
  if (typeof base !== 'string' || base === '') return skip('without api_base it is a provider in the cloud');
  const url = readUrl(base, engine);
  if (url === undefined) return skip('its api_base is no http or https URL without user and query');
  if (url.startsWith('${')) notes.push(`${place}: ${url} must be the engine's base URL, without /v1`);
  const servedModel = slash === -1 ? model : model.slice(slash + 1);
  if (!NAME.test(servedModel)) return skip('the name of its model has spaces');
  const others = [...Object.keys(params).filter((key) => !READ_PARAMS.has(key)), ...readOtherKeys(entry)];
  if (others.length > 0) notes.push(`${place} (${clean(name)}): not taken over: ${others.map(clean).join(', ')}`);
  return {
    models: [name],
    servedModel,
    engine,
    upstreams: [{ url, keyVariable: readKeyVariable(params['api_key'], { name, place, notes }) }],
    weight: readNumber(params['weight']) ?? 1,
    // LiteLLM's lower order comes first, our higher priority does.
    priority: -Math.round(readNumber(params['order']) ?? 0) + 0,
    defaults: Object.fromEntries(
      REQUEST_FIELDS.flatMap((field) => (params[field] === undefined ? [] : [[field, params[field]]])),
    ),
  };
}

function readOtherKeys(entry: Fields): readonly string[] {
  return Object.keys(entry).filter((key) => key !== 'model_name' && key !== 'litellm_params');
}

/** Triton's api_base is a model's whole path; its deployments are named by the server. */
function readUrl(base: string, engine: EngineName): string | undefined {
  const variable = VARIABLE.exec(base)?.[1];
  if (variable !== undefined) return `\${${variable}}`;
  const url = parseBaseUrl(base);
  return url !== undefined && engine === 'triton' ? new URL(url).origin : url;
}

function readKeyVariable(
  key: unknown,
  context: { readonly name: string; readonly place: string; readonly notes: string[] },
): string | null {
  if (typeof key !== 'string' || key === '' || /^(?:none|empty|fake.*|dummy.*|not-needed)$/i.test(key)) return null;
  const known = VARIABLE.exec(key)?.[1];
  if (known !== undefined) return known;
  const variable = `${context.name
    .toUpperCase()
    .replaceAll(/[^A-Z0-9]+/g, '_')
    .replace(/^(?=\d)/, '_')}_API_KEY`;
  context.notes.push(`${context.place}: its key was not copied; set ${variable} to it`);
  return variable;
}

/** `model_group_alias`: other names by the name they stand for. */
function readAliases(root: Fields, notes: string[]): ReadonlyMap<string, readonly string[]> {
  const aliases = new Map<string, string[]>();
  const written = {
    ...asFields(asFields(root['litellm_settings'])?.['model_group_alias']),
    ...asFields(asFields(root['router_settings'])?.['model_group_alias']),
  };
  for (const [alias, value] of Object.entries(written)) {
    const target = typeof value === 'string' ? value : asFields(value)?.['model'];
    if (typeof target !== 'string' || !NAME.test(alias)) notes.push(`the alias ${clean(alias)} was left out`);
    else aliases.set(target, [...(aliases.get(target) ?? []), alias]);
  }
  return aliases;
}

function addAliases(draft: DeploymentDraft, aliases: ReadonlyMap<string, readonly string[]>): DeploymentDraft {
  const added = draft.models.flatMap((model) => aliases.get(model) ?? []);
  return added.length === 0 ? draft : { ...draft, models: [...new Set([...draft.models, ...added])] };
}

/** Everything else the file has, by name only: values may be secrets. */
function noteRest(root: Fields, notes: string[]): void {
  for (const [section, value] of Object.entries(root)) {
    if (section === 'model_list') continue;
    const keys = Object.keys(asFields(value) ?? {}).filter((key) => key !== 'model_group_alias');
    if (keys.length > 0) notes.push(`${clean(section)}: not taken over: ${keys.map(clean).join(', ')}`);
    else if (asFields(value) === null) notes.push(`${clean(section)}: not taken over`);
  }
}

/** Entries that differ only in their upstream are replicas; those that differ only in their name are aliases. */
function mergeDrafts(drafts: readonly DeploymentDraft[]): readonly DeploymentDraft[] {
  const replicas = new Map<string, DeploymentDraft>();
  for (const draft of drafts) {
    const key = JSON.stringify({ ...draft, upstreams: [] });
    const known = replicas.get(key);
    const upstreams = [...(known?.upstreams ?? []), ...draft.upstreams];
    const distinct = upstreams.filter(({ url }, at) => upstreams.findIndex((other) => other.url === url) === at);
    replicas.set(key, { ...draft, upstreams: distinct });
  }
  const named = new Map<string, DeploymentDraft>();
  for (const draft of replicas.values()) {
    const key = JSON.stringify({ ...draft, models: [] });
    named.set(key, { ...draft, models: [...(named.get(key)?.models ?? []), ...draft.models] });
  }
  return [...named.values()];
}

/** A name of the file as it may stand in a comment of one line. */
function clean(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 100);
}

function readNumber(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null;
}

function asFields(value: unknown): Fields | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : null;
}
