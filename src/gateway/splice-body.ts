// Changes a request body where it must, byte for byte the client's everywhere else: the served model's name and include_usage.
import { type JsonMember, listMembers, skipSpace } from './json-members.ts';

/** What to change. */
export interface BodyChanges {
  /** The name the engine knows; replaces the value of every `model`, or is added where there is none. Null leaves it. */
  readonly model: string | null;
  /** Sets `stream_options.include_usage` to true, in the object that is there or in a new one. */
  readonly includeUsage: boolean;
}

interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * Returns the body with the changes, the same buffer where there is nothing to change. `body` must be a JSON object that JSON.parse
 * took. A repeated `stream_options` is edited where it stands last, because that is the one JSON parsers keep; a repeated
 * `model` everywhere, so that no parser of another mind serves a model other than the metered one.
 */
export function spliceBody(body: Buffer, changes: BodyChanges): Buffer {
  if (changes.model === null && !changes.includeUsage) return body;
  const objectStart = skipSpace(body, 0);
  const members = listMembers(body, objectStart);
  const inserted: string[] = [];
  const edits: Edit[] = [];
  if (changes.model !== null) editModel(members, { model: changes.model, inserted, edits });
  if (changes.includeUsage) editStreamOptions(body, members, { inserted, edits });
  if (inserted.length > 0) {
    const text = inserted.join(',') + (members.length > 0 ? ',' : '');
    edits.push({ start: objectStart + 1, end: objectStart + 1, text });
  }
  return applyEdits(body, edits);
}

interface Changes {
  readonly inserted: string[];
  readonly edits: Edit[];
}

function editModel(members: readonly JsonMember[], changes: Changes & { readonly model: string }): void {
  const text = JSON.stringify(changes.model);
  const places = members.filter(({ name }) => name === 'model');
  if (places.length === 0) changes.inserted.push(`"model":${text}`);
  for (const { valueStart, valueEnd } of places) changes.edits.push({ start: valueStart, end: valueEnd, text });
}

function editStreamOptions(body: Buffer, members: readonly JsonMember[], changes: Changes): void {
  const options = members.findLast(({ name }) => name === 'stream_options');
  if (options === undefined) {
    changes.inserted.push('"stream_options":{"include_usage":true}');
    return;
  }
  if (body[options.valueStart] !== 0x7b) {
    changes.edits.push({ start: options.valueStart, end: options.valueEnd, text: '{"include_usage":true}' });
    return;
  }
  const inner = listMembers(body, options.valueStart);
  const flag = inner.findLast(({ name }) => name === 'include_usage');
  if (flag === undefined) {
    const at = options.valueStart + 1;
    changes.edits.push({ start: at, end: at, text: `"include_usage":true${inner.length > 0 ? ',' : ''}` });
  } else {
    changes.edits.push({ start: flag.valueStart, end: flag.valueEnd, text: 'true' });
  }
}

function applyEdits(body: Buffer, edits: Edit[]): Buffer {
  edits.sort((left, right) => left.start - right.start);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const { start, end, text } of edits) {
    pieces.push(body.subarray(from, start), Buffer.from(text));
    from = end;
  }
  pieces.push(body.subarray(from));
  return Buffer.concat(pieces);
}
