// What a deployment's `dropFields`, `defaults` and `caps` make of a request's top-level fields. Pure: the bytes are splice-body's.
import type { DeploymentConfig } from '#config/config.ts';
import type { RouteShape } from './metered-routes.ts';

/** The three keys of a deployment that change requests. */
export type FieldRules = Pick<DeploymentConfig, 'dropFields' | 'defaults' | 'caps'>;

/** What to do to the members of the body. */
export interface FieldChanges {
  /** Names whose every occurrence is taken out. */
  readonly drop: ReadonlySet<string>;
  /** JSON text by name: replaces every occurrence, or is added where there is none. */
  readonly set: ReadonlyMap<string, string>;
}

export interface AdaptedFields {
  readonly changes: FieldChanges;
  /** The fields as the engine gets them. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** One limit under three names: OpenAI's older and newer one, and that of the Responses API. */
const LENGTH_FIELDS: readonly string[] = ['max_tokens', 'max_completion_tokens', 'max_output_tokens'];

/** Fields that only generation knows; strict engines refuse them on embeddings and rerank (upstreams.md §1.2). */
const GENERATION_FIELDS = new Set([
  ...LENGTH_FIELDS,
  'n',
  'best_of',
  'temperature',
  'top_p',
  'top_k',
  'min_p',
  'stop',
  'seed',
  'presence_penalty',
  'frequency_penalty',
  'repetition_penalty',
  'logprobs',
  'top_logprobs',
  'reasoning_effort',
  'chat_template_kwargs',
]);

/** Spellings of the config that are not the field's own. */
const CAP_FIELDS: Readonly<Record<string, readonly string[]>> = {
  maxTokens: LENGTH_FIELDS,
  max_tokens: LENGTH_FIELDS,
  bestOf: ['best_of'],
};

/** Whether the deployment changes any request at all; the hot path asks no more where it does not. */
export function hasFieldRules(rules: FieldRules): boolean {
  if (rules.dropFields.length > 0) return true;
  for (const _name in rules.defaults) return true;
  for (const _name in rules.caps) return true;
  return false;
}

/**
 * Fields are dropped first, then completed, then capped, so that a default is held to its cap. A default fills in for a field that is
 * absent or null; one of the length limits counts as sent where the client set it under another name, and is written in the
 * route's own. Caps lower numbers above them, also numbers written as text, which engines read as numbers; what a client leaves out
 * stays out, because a limit that it never asked for can make a long prompt fail (vLLM refuses prompt + limit > context).
 */
export function adaptFields(
  fields: Readonly<Record<string, unknown>>,
  rules: FieldRules,
  shape: RouteShape,
): AdaptedFields {
  const adapted: Record<string, unknown> = Object.assign(Object.create(null), fields);
  const drop = new Set<string>();
  const set = new Map<string, string>();
  const write = (name: string, value: unknown): void => {
    const text = JSON.stringify(value);
    if (text === undefined) return;
    adapted[name] = value;
    set.set(name, text);
  };
  for (const name of rules.dropFields) {
    if (!(name in adapted)) continue;
    delete adapted[name];
    drop.add(name);
  }
  for (const [name, value] of Object.entries(rules.defaults)) {
    const target = nameOnRoute(name, shape);
    if (target === null || isSent(adapted, target)) continue;
    write(target, value);
  }
  for (const [name, cap] of Object.entries(rules.caps)) {
    for (const field of CAP_FIELDS[name] ?? [name]) {
      if (readNumber(adapted[field]) > cap) write(field, cap);
    }
  }
  // A dropped field that a default brought back is written in place of what was there.
  for (const name of set.keys()) drop.delete(name);
  return { changes: { drop, set }, fields: adapted };
}

/** Under which name a default goes on this route; null where it does not belong there. */
function nameOnRoute(name: string, shape: RouteShape): string | null {
  if (!GENERATION_FIELDS.has(name)) return name;
  if (shape === 'embedding' || shape === 'rerank') return null;
  if (!LENGTH_FIELDS.includes(name)) return name;
  if (shape === 'response') return 'max_output_tokens';
  return shape === 'chat' && name === 'max_completion_tokens' ? name : 'max_tokens';
}

function isSent(fields: Readonly<Record<string, unknown>>, name: string): boolean {
  const names = LENGTH_FIELDS.includes(name) ? LENGTH_FIELDS : [name];
  return names.some((one) => fields[one] !== undefined && fields[one] !== null);
}

/** NaN for what no engine reads as a number, which is above no cap. */
function readNumber(value: unknown): number {
  if (typeof value === 'number') return value;
  return typeof value === 'string' && value.length <= 64 ? Number(value.replaceAll('_', '')) : Number.NaN;
}
