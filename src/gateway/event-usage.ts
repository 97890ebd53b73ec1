// Usage in one event of a chat or completion stream, found in its bytes without parsing the rest: its place, so that it can be cut out,
// and what it says. Summing over events is stream-usage's.
import { type JsonMember, listMembers } from './json-members.ts';
import { asObject } from './read-usage.ts';

/** Byte offsets into the buffer the event stands in, end exclusive. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface EventUsage {
  /** The usage object as the engine wrote it. */
  readonly usage: Readonly<Record<string, unknown>>;
  /** The value alone. */
  readonly value: Span;
  /** The member with the comma that parts it from its neighbour. */
  readonly member: Span;
  /** Whether `choices` holds anything; null where there are no choices at all. */
  readonly hasChoices: boolean | null;
  /** `index` of the first choice; 0 where it says none. */
  readonly choiceIndex: number;
  readonly id: string | null;
}

const DATA = Buffer.from('data:');
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

/** Finds the usage of `bytes[start, end)`; null where the event is not one line of data with a usage object at its top. */
export function findEventUsage(bytes: Buffer, start: number, end: number): EventUsage | null {
  const event = bytes.subarray(start, end);
  const data = event.indexOf(DATA);
  if (data === -1 || (data > 0 && !isLineEnd(event[data - 1]))) return null;
  let at = data + DATA.length;
  while (event[at] === 0x20) at += 1;
  if (event[at] !== OPEN_BRACE || event.indexOf('\ndata:', at) !== -1 || event.indexOf('\rdata:', at) !== -1)
    return null;
  const members = listMembers(event, at);
  const place = members.findLastIndex(({ name }) => name === 'usage');
  const member = members[place];
  if (member === undefined) return null;
  const usage = parseObject(event.toString('utf8', member.valueStart, member.valueEnd));
  if (usage === null) return null;
  const choices = members.find(({ name }) => name === 'choices');
  const isList = choices !== undefined && event[choices.valueStart] === OPEN_BRACKET;
  const choice = isList ? event.indexOf(OPEN_BRACE, choices.valueStart) : -1;
  const hasChoice = isList && choice !== -1 && choice < choices.valueEnd;
  const cut = spanWithComma(members, place, member);
  return {
    usage,
    value: { start: start + member.valueStart, end: start + member.valueEnd },
    member: { start: start + cut.start, end: start + cut.end },
    hasChoices: isList ? hasChoice : null,
    choiceIndex: hasChoice ? readIndex(event, choice) : 0,
    id: readId(event, members),
  };
}

function isLineEnd(byte: number | undefined): boolean {
  return byte === 0x0a || byte === 0x0d;
}

function spanWithComma(members: readonly JsonMember[], place: number, member: JsonMember): Span {
  const before = members[place - 1];
  if (before !== undefined) return { start: before.valueEnd, end: member.valueEnd };
  return { start: member.nameStart, end: members[place + 1]?.nameStart ?? member.valueEnd };
}

function readIndex(event: Buffer, choice: number): number {
  const member = listMembers(event, choice).find(({ name }) => name === 'index');
  const index = member === undefined ? 0 : Number(event.toString('latin1', member.valueStart, member.valueEnd));
  return Number.isSafeInteger(index) && index >= 0 ? index : 0;
}

function readId(event: Buffer, members: readonly JsonMember[]): string | null {
  const member = members.find(({ name }) => name === 'id');
  if (member === undefined || event[member.valueStart] !== 0x22) return null;
  return event.toString('utf8', member.valueStart + 1, member.valueEnd - 1);
}

function parseObject(text: string): Readonly<Record<string, unknown>> | null {
  try {
    return asObject(JSON.parse(text));
  } catch {
    // An event that only looks like JSON says nothing, and nothing is cut out of it.
    return null;
  }
}
