// Changes a request body where it must, byte for byte the client's everywhere else: the served model's name, what asks for usage,
// and the deployment's own changes of fields. Which changes is the callers' to say.
import type { FieldChanges } from './adapt-fields.ts';
import { type JsonMember, listMembers, skipSpace } from './json-members.ts';

/** What to change. */
export interface BodyChanges {
  /** The name the engine knows; replaces the value of every `model`, or is added where there is none. Null leaves it. */
  readonly model: string | null;
  /** Sets `stream_options.include_usage` to true, in the object that is there or in a new one. */
  readonly includeUsage: boolean;
  /** Sets `stream_options.continuous_usage_stats` to true beside it. */
  readonly continuousUsage?: boolean;
  /** Fields taken out, replaced and added; neither `model` nor `stream_options` where those above change them. */
  readonly fields?: FieldChanges | null;
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * Returns the body with the changes, the same buffer where there is nothing to change. `body` must be a JSON object that JSON.parse
 * took. A repeated `stream_options` is edited where it stands last, because that is the one JSON parsers keep; all other repeated
 * fields everywhere, so that no parser of another mind serves a request other than the metered one.
 */
export function spliceBody(body: Buffer, changes: BodyChanges): Buffer {
  const fields = changes.fields ?? null;
  const changesFields = fields !== null && (fields.drop.size > 0 || fields.set.size > 0);
  if (changes.model === null && !changes.includeUsage && !changesFields) return body;
  const objectStart = skipSpace(body, 0);
  const all = listMembers(body, objectStart);
  const edits: Edit[] = [];
  const members = changesFields && fields.drop.size > 0 ? dropMembers(all, fields.drop, edits) : all;
  const inserted: string[] = [];
  if (changes.includeUsage) editStreamOptions(body, members, { changes, inserted, edits });
  if (changesFields) for (const [name, text] of fields.set) setMember(members, { name, text, inserted, edits });
  if (changes.model !== null)
    setMember(members, { name: 'model', text: JSON.stringify(changes.model), inserted, edits });
  if (inserted.length > 0) {
    const text = inserted.toReversed().join(',') + (members.length > 0 ? ',' : '');
    edits.push({ start: objectStart + 1, end: objectStart + 1, text });
  }
  return applyEdits(body, edits);
}

/** Takes members out with the comma that parted them from their neighbours; returns those that stay. */
function dropMembers(members: readonly JsonMember[], drop: ReadonlySet<string>, edits: Edit[]): JsonMember[] {
  const kept: JsonMember[] = [];
  for (const [index, member] of members.entries()) {
    if (!drop.has(member.name)) {
      kept.push(member);
      continue;
    }
    const next = members[index + 1];
    // Up to the next member; what is dropped after the last one that stays goes with the comma before it.
    if (next !== undefined) edits.push({ start: member.nameStart, end: next.nameStart, text: '' });
    else edits.push({ start: member.nameStart, end: member.valueEnd, text: '' });
  }
  const lastKept = kept.at(-1);
  const last = members.at(-1);
  if (lastKept === undefined || last === undefined || lastKept === last) return kept;
  while ((edits.at(-1)?.start ?? 0) > lastKept.valueEnd) edits.pop();
  edits.push({ start: lastKept.valueEnd, end: last.valueEnd, text: '' });
  return kept;
}

function setMember(
  members: readonly JsonMember[],
  change: {
    readonly name: string;
    readonly text: string;
    readonly inserted: string[];
    readonly edits: Edit[];
  },
): void {
  const { name, text, inserted, edits } = change;
  let isThere = false;
  for (const member of members) {
    if (member.name !== name) continue;
    isThere = true;
    edits.push({ start: member.valueStart, end: member.valueEnd, text });
  }
  if (!isThere) inserted.push(`${JSON.stringify(name)}:${text}`);
}

function editStreamOptions(
  body: Buffer,
  members: readonly JsonMember[],
  options: { readonly changes: BodyChanges; readonly inserted: string[]; readonly edits: Edit[] },
): void {
  const { changes, inserted, edits } = options;
  const flags = changes.continuousUsage === true ? ['include_usage', 'continuous_usage_stats'] : ['include_usage'];
  const whole = `{${flags.map((name) => `"${name}":true`).join(',')}}`;
  const place = members.findLast(({ name }) => name === 'stream_options');
  if (place === undefined) {
    inserted.push(`"stream_options":${whole}`);
    return;
  }
  if (body[place.valueStart] !== 0x7b) {
    edits.push({ start: place.valueStart, end: place.valueEnd, text: whole });
    return;
  }
  const inner = listMembers(body, place.valueStart);
  const missing: string[] = [];
  for (const flag of flags) {
    const found = inner.findLast(({ name }) => name === flag);
    if (found === undefined) missing.push(`"${flag}":true`);
    else edits.push({ start: found.valueStart, end: found.valueEnd, text: 'true' });
  }
  if (missing.length === 0) return;
  const at = place.valueStart + 1;
  edits.push({ start: at, end: at, text: missing.join(',') + (inner.length > 0 ? ',' : '') });
}

function applyEdits(body: Buffer, edits: Edit[]): Buffer {
  // Where one begins at a place where text is inserted, the insertion comes first.
  edits.sort((left, right) => left.start - right.start || left.end - right.end);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const { start, end, text } of edits) {
    pieces.push(body.subarray(from, start), Buffer.from(text));
    from = end;
  }
  pieces.push(body.subarray(from));
  return Buffer.concat(pieces);
}
