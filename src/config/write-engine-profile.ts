// Puts a measured engine profile into a config file in place: only the bytes of that profile change, comments and layout stay.
// Not here: where the numbers come from.
import {
  accessSync,
  constants,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isMap, isScalar, isSeq, parseDocument, type Pair, type YAMLMap } from 'yaml';
import type { EngineProfileConfig } from './config.ts';

/** The terms in ms, and what the loader makes `engineProfileOrigin` of. */
export type WrittenProfile = EngineProfileConfig & { readonly source?: 'calibrated'; readonly fitError?: number };

export interface ProfileEdit {
  /** Position of the deployment in the file. */
  readonly index: number;
  /** Its name as the loaded config has it, which the file must agree with. */
  readonly name: string;
  readonly profile: WrittenProfile;
  /** One line without line breaks, written above a new entry where the layout has room for a comment. */
  readonly comment: string;
}

/** The file cannot be edited without guessing; the message says why. */
export class ProfileNotWrittenError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ProfileNotWrittenError';
  }
}

/** Replaces the file atomically, keeping its mode, and where it is a symbolic link what it points to. Throws ProfileNotWrittenError or a system error. */
export function writeEngineProfile(path: string, edit: ProfileEdit): void {
  const target = realpathSync(path);
  const text = insertEngineProfile(readFileSync(target, 'utf8'), edit);
  const draft = `${target}.${process.pid}.new`;
  try {
    writeFileSync(draft, text, { mode: statSync(target).mode & 0o777, flag: 'wx' });
    renameSync(draft, target);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}

/** Whether such an edit could be written now, asked before a profile is measured for it. Writes nothing; throws as writeEngineProfile does. */
export function assertProfileWritable(path: string, edit: ProfileEdit): void {
  const target = realpathSync(path);
  insertEngineProfile(readFileSync(target, 'utf8'), edit);
  // The file is replaced, not written to.
  accessSync(dirname(target), constants.W_OK);
}

/** The text with the profile in it. Throws ProfileNotWrittenError where the deployment is an alias, is not found, or more than it would change. */
export function insertEngineProfile(text: string, edit: ProfileEdit): string {
  const deployment = findDeployment(text, edit);
  const pair = findPair(deployment, 'engineProfile');
  // `engineProfile:` without a value counts as absent to the loader, but the key may not stand twice.
  if (pair !== undefined && !isMap(pair.value))
    throw new ProfileNotWrittenError(`engineProfile of ${edit.name} is an alias or has no terms: edit it by hand`);
  const edited =
    pair === undefined ? addProfile(text, deployment, edit) : replaceTerms(text, pair.value as YAMLMap, edit);
  assertOnlyProfileChanged(text, edited, edit);
  return edited;
}

/** As one flow mapping, such as goes behind `engineProfile: `. */
export function renderEngineProfile(profile: WrittenProfile): string {
  return `{ ${Object.entries(profile)
    .map(([name, value]) => `${name}: ${value}`)
    .join(', ')} }`;
}

function findDeployment(text: string, { index, name }: ProfileEdit): YAMLMap {
  const document = parseDocument(text, { merge: true });
  const list = document.errors.length === 0 ? document.get('deployments') : undefined;
  const item = isSeq(list) ? list.items[index] : undefined;
  if (!isMap(item))
    throw new ProfileNotWrittenError(`deployment ${name} does not stand in the file by itself (an alias?)`);
  const written = item.get('name');
  if (typeof written !== 'string' || (written !== name && !written.includes('${')))
    throw new ProfileNotWrittenError(`the file has changed: entry ${index + 1} of deployments is not ${name}`);
  return item;
}

function findPair(map: YAMLMap, key: string): Pair | undefined {
  return map.items.find((pair) => isScalar(pair.key) && pair.key.value === key);
}

function startOf(node: unknown): number {
  const range = (node as { readonly range?: readonly number[] | null } | null)?.range;
  if (range === undefined || range === null || range[0] === undefined)
    throw new ProfileNotWrittenError('the layout of the file leaves no place to write to');
  return range[0];
}

/** Before the first key, which in a block begins its line and in braces follows the opening one. */
function insertBefore(
  text: string,
  at: number,
  entry: { readonly isFlow: boolean; readonly lines: readonly string[] },
): string {
  const lineStart = text.lastIndexOf('\n', at - 1) + 1;
  const separator = entry.isFlow ? ', ' : `\n${' '.repeat(at - lineStart)}`;
  return text.slice(0, at) + entry.lines.map((line) => line + separator).join('') + text.slice(at);
}

function addProfile(text: string, deployment: YAMLMap, { profile, comment }: ProfileEdit): string {
  // Before the upstreams, which every deployment has: the name stays first.
  const at = startOf(findPair(deployment, 'upstreams')?.key ?? deployment.items[0]?.key);
  const line = `engineProfile: ${renderEngineProfile(profile)}`;
  const isFlow = deployment.flow === true;
  return insertBefore(text, at, { isFlow, lines: isFlow ? [line] : [`# ${comment}`, line] });
}

/** Each term that stands there gets its number replaced; those that do not come before the first. */
function replaceTerms(text: string, map: YAMLMap, { profile }: ProfileEdit): string {
  const missing: string[] = [];
  const edits: { readonly from: number; readonly to: number; readonly value: string }[] = [];
  for (const [name, value] of Object.entries(profile)) {
    const pair = findPair(map, name);
    if (pair === undefined) missing.push(`${name}: ${value}`);
    else if (!isScalar(pair.value) || pair.value.source === undefined)
      throw new ProfileNotWrittenError(`engineProfile.${name} is not a plain number: edit it by hand`);
    else edits.push({ from: startOf(pair.value), to: pair.value.range?.[1] ?? 0, value: String(value) });
  }
  let edited = text;
  for (const { from, to, value } of edits.toSorted((left, right) => right.from - left.from))
    edited = edited.slice(0, from) + value + edited.slice(to);
  if (missing.length === 0) return edited;
  const first = map.items[0]?.key;
  if (first === undefined) {
    const at = startOf(map) + 1;
    return `${edited.slice(0, at)} ${missing.join(', ')} ${edited.slice(at)}`;
  }
  // The first key stands before every number that was replaced.
  return insertBefore(edited, startOf(first), { isFlow: map.flow === true, lines: missing });
}

/** Whether the terms are fixed is the reader's own choice: it stays. */
function readFixed(written: unknown): { readonly fixed?: unknown } {
  return typeof written === 'object' && written !== null && 'fixed' in written ? { fixed: written.fixed } : {};
}

/** The last word before anything is written: the file reads as before, but for the profile. */
function assertOnlyProfileChanged(before: string, after: string, { index, profile, name }: ProfileEdit): void {
  const read = (text: string): unknown => parseDocument(text, { merge: true }).toJS({ maxAliasCount: 100 });
  const expected = read(before) as { deployments: Record<string, unknown>[] };
  const deployment = expected.deployments[index];
  if (deployment === undefined) throw new ProfileNotWrittenError(`deployment ${name} is gone`);
  deployment['engineProfile'] = { ...profile, ...readFixed(deployment['engineProfile']) };
  if (!isDeepStrictEqual(read(after), expected))
    throw new ProfileNotWrittenError(`the profile of ${name} cannot be written without changing more: edit it by hand`);
}
