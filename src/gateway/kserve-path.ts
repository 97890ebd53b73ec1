// Takes apart the paths of KServe's HTTP protocol and puts together those that are sent to an engine. A path that is sent is always made
// from the config's name of the model, never from the client's spelling.

/** What a model path asks for; all but the first three only read. */
export type KserveAction = 'infer' | 'generate' | 'generate_stream' | 'metadata' | 'ready' | 'config' | 'stats';

/** A path below `/v2/models/`. */
export interface KservePath {
  /** As the client names it, decoded. */
  readonly model: string;
  /** A number without sign, as text; null for the engine's choice. */
  readonly version: string | null;
  readonly action: KserveAction;
}

/** The three actions that generate, and are metered. */
export type InferenceAction = Extract<KserveAction, 'infer' | 'generate' | 'generate_stream'>;

/** Names may hold slashes, raw or as %2F: the end of the path says where they stop. */
const MODEL_PATH =
  /^\/v2\/models\/(.+?)(?:\/versions\/(\d{1,19}))?(?:\/(infer|generate|generate_stream|ready|config|stats))?$/;

/** The parts of a model's path; null for every other path. */
export function parseKservePath(path: string): KservePath | null {
  const match = MODEL_PATH.exec(path);
  if (match === null) return null;
  const [, encoded = '', version = null, action = 'metadata'] = match;
  try {
    return { model: decodeURIComponent(encoded), version, action: action as KserveAction };
  } catch {
    return null;
  }
}

const INFERENCE: ReadonlySet<KserveAction> = new Set<InferenceAction>(['infer', 'generate', 'generate_stream']);

/** Whether a path is there and generates. */
export function isInference(path: KservePath | null): path is KservePath & { readonly action: InferenceAction } {
  return path !== null && INFERENCE.has(path.action);
}

/** The path under which an engine knows a model; the engine's base path is the sender's to add. */
export function renderKservePath(servedModel: string, path: Pick<KservePath, 'version' | 'action'>): string {
  const version = path.version === null ? '' : `/versions/${path.version}`;
  const action = path.action === 'metadata' ? '' : `/${path.action}`;
  return `/v2/models/${encodeURIComponent(servedModel)}${version}${action}`;
}

/** The route of records and metrics: the contract's template, whichever version was asked for. */
export function renderKserveRoute(action: KserveAction): string {
  return action === 'metadata' ? '/v2/models/{m}' : `/v2/models/{m}/${action}`;
}
