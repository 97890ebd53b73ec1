// The kinds of single values a config may hold, each a zod schema with a message that says what was expected.
// Which key holds which kind stands in the schema-*.ts of its section.
import { z } from 'zod';
import { parseNanoUsd } from '#domain/nano-usd.ts';
import { ScalarText, UNRESOLVED } from './scalar.ts';

/** Issues with this message belong to a value whose problem is reported already. */
export const ALREADY_REPORTED = 'already reported';

/** What a reader of one value says: the value, or what was expected instead. */
type Reading<Value> = { readonly value: Value } | { readonly expected: string };

/** A schema of one scalar: absent, unresolved and container values are answered here, the rest by `read`. */
function leaf<Value>(expected: string, read: (raw: unknown) => Reading<Value>) {
  return z.unknown().transform((raw, context): Value => {
    const fail = (message: string): never => {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    if (raw === UNRESOLVED) return fail(ALREADY_REPORTED);
    if (raw === undefined) return fail(`is required: expected ${expected}`);
    const reading = read(raw);
    if ('value' in reading) return reading.value;
    return fail(`expected ${reading.expected}${describeFound(raw)}`);
  });
}

/** Literal scalars are quoted back; containers by kind; what came from a variable or a secret file never. */
function describeFound(raw: unknown): string {
  if (raw instanceof ScalarText) return raw.confidential ? '' : `, found ${raw.text}`;
  if (Array.isArray(raw)) return ', found a list';
  if (typeof raw === 'object' && raw !== null) return ', found a mapping';
  return typeof raw === 'string' ? `, found ${JSON.stringify(shorten(raw))}` : `, found ${String(raw)}`;
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function textOf(raw: unknown): string | undefined {
  return raw instanceof ScalarText ? raw.text : typeof raw === 'string' ? raw : undefined;
}

function valueOf(raw: unknown): unknown {
  return raw instanceof ScalarText ? raw.value : raw;
}

/** Text that satisfies `pattern`, described as `expected`; numbers written without quotes keep their exact text. */
export function text(
  options: { readonly pattern?: RegExp; readonly expected?: string; readonly maxLength?: number } = {},
) {
  const { pattern, expected = 'text', maxLength = 4096 } = options;
  return leaf<string>(expected, (raw) => {
    const found = textOf(raw);
    if (found === undefined) return { expected };
    if (found.length > maxLength) return { expected: `at most ${maxLength} characters` };
    return pattern === undefined || pattern.test(found) ? { value: found } : { expected };
  });
}

/** Like `text`, but the value is never quoted in a message. */
export function secret(options: { readonly pattern?: RegExp; readonly expected?: string } = {}) {
  const { pattern, expected = 'text' } = options;
  return z.preprocess(
    (raw) => (typeof raw === 'string' ? new ScalarText(raw, { confidential: true }) : raw),
    text({ expected, maxLength: 1024 * 1024, ...(pattern === undefined ? {} : { pattern }) }),
  );
}

/** One word of `words`. */
export function oneOf<const Word extends string>(words: readonly Word[]) {
  const expected = `one of ${words.join(', ')}`;
  return leaf<Word>(expected, (raw) => {
    const word = words.find((candidate) => candidate === textOf(raw));
    return word === undefined ? { expected } : { value: word };
  });
}

/** `true` or `false`. */
export function flag() {
  return leaf<boolean>('true or false', (raw) => {
    const value = valueOf(raw);
    return typeof value === 'boolean' ? { value } : { expected: 'true or false' };
  });
}

/** A whole number between `min` and `max`, both included. */
export function integer(min: number, max: number) {
  const expected = `a whole number from ${min} to ${max}`;
  return leaf<number>(expected, (raw) => {
    const value = valueOf(raw);
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
      ? { value }
      : { expected };
  });
}

/** A finite number between `min` and `max`, both included; `unit` is for the message. */
export function decimal(min: number, max: number, unit: string) {
  const expected = `a number of ${unit} from ${min} to ${max}`;
  return leaf<number>(expected, (raw) => {
    const value = valueOf(raw);
    return typeof value === 'number' && Number.isFinite(value) && value >= min && value <= max
      ? { value }
      : { expected };
  });
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration such as `1.5s` as milliseconds, between `minMs` and `maxMs`, both included. Only 0 needs no unit. */
export function duration(range: { readonly minMs: number; readonly maxMs: number }) {
  const expected = 'a duration such as 250ms, 30s, 15m, 12h or 7d';
  return leaf<number>(expected, (raw) => {
    const written = textOf(raw)?.trim() ?? '';
    const match = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)$/.exec(written === '0' ? '0ms' : written);
    if (match === null) return { expected };
    const value = Math.round(Number(match[1]) * (UNIT_MS[match[2] ?? ''] ?? Number.NaN));
    return value >= range.minMs && value <= range.maxMs
      ? { value }
      : { expected: `a duration from ${formatDuration(range.minMs)} to ${formatDuration(range.maxMs)}` };
  });
}

function formatDuration(durationMs: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const unitMs = UNIT_MS[unit] ?? 1;
    if (durationMs >= unitMs && durationMs % unitMs === 0) return `${durationMs / unitMs}${unit}`;
  }
  return `${durationMs}ms`;
}

/** Dollars from zero to `maxUsd` as exact nanodollars; more than 9 decimal places are refused, never rounded. */
export function dollars(maxUsd: number) {
  const expected = `dollars as a decimal number from 0 to ${maxUsd} with at most 9 decimal places`;
  return leaf<bigint>(expected, (raw) => {
    const nanoUsd = parseExactly(textOf(raw));
    return nanoUsd === undefined || nanoUsd > BigInt(maxUsd) * 1_000_000_000n ? { expected } : { value: nanoUsd };
  });
}

/** GPUs above zero, at most `maxGpus`, as integer millionths; more than 6 decimal places are refused. */
export function gpuMillionths(maxGpus: number) {
  const expected = `a number of GPUs above 0, at most ${maxGpus}, with at most 6 decimal places`;
  return leaf<number>(expected, (raw) => {
    const billionths = parseExactly(textOf(raw));
    if (billionths === undefined || billionths <= 0n || billionths % 1000n !== 0n) return { expected };
    const millionths = Number(billionths / 1000n);
    return millionths <= maxGpus * 1_000_000 ? { value: millionths } : { expected };
  });
}

function parseExactly(written: string | undefined): bigint | undefined {
  if (written === undefined || written.length > 40 || !/^\d*\.?\d*$/.test(written)) return undefined;
  try {
    return parseNanoUsd(written);
  } catch {
    return undefined;
  }
}
