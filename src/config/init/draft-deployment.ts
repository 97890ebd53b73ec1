// One deployment on its way into the file that `init` writes, whoever found it: the probe or another gateway's configuration.
import type { EngineName } from '../config.ts';

export interface UpstreamDraft {
  /** A base URL without `/v1`, or a variable: `${NAME}`. */
  readonly url: string;
  /** Variable that holds the key the engine wants; null for none. */
  readonly keyVariable: string | null;
}

/** What makes two entries one deployment is everything but `models` and `upstreams`. */
export interface DeploymentDraft {
  /** Names clients may send; the first is canonical. Never empty. */
  readonly models: readonly string[];
  readonly servedModel: string;
  readonly engine: EngineName;
  readonly upstreams: readonly UpstreamDraft[];
  readonly weight: number;
  readonly priority: number;
  /** Request fields where the client sent none. */
  readonly defaults: Readonly<Record<string, unknown>>;
}

/** A deployment that does nothing but serve a model under its own name. */
export function createPlainDraft(engine: EngineName, model: string, upstream: UpstreamDraft): DeploymentDraft {
  return { models: [model], servedModel: model, engine, upstreams: [upstream], weight: 1, priority: 0, defaults: {} };
}

/** Base URL without trailing slash or `/v1`, which people copy from their SDK settings; undefined for what is no base URL. */
export function parseBaseUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if ((url.protocol !== 'http:' && url.protocol !== 'https:') || !isPlain) return undefined;
  return `${url.protocol}//${url.host}${url.pathname.replace(/(?:\/v1)?\/*$/, '')}`;
}
