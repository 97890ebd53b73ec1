// What must be true of the books after a schedule, whatever happened in it. Reads the store itself, past gateways and proxies.
import type { BookCell, RollupCell } from '#domain/books.ts';
import { factsInForce, poolHourNanoUsd, priceAt } from '#domain/pool-facts.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { UNATTRIBUTED } from '#domain/unattributed.ts';
import { windowOf } from '#domain/window.ts';
import { verifyLedger } from '#ledger/verify-ledger.ts';
import type { OpenedStore } from '#store/open-store.ts';
import type { ChaosStage } from './chaos-stage.ts';
import type { ChaosTraffic } from './chaos-traffic.ts';

const DAY_MS = 86_400_000;
const HOUR_SECONDS = 3600;

export interface BooksVerdict {
  /** Records in the ledger. */
  readonly records: number;
  /** Answers that a client got whole and the ledger has no completed record of. */
  readonly lost: number;
  /** Records beyond the first of one attempt, or beyond the first completed one of a request. */
  readonly doubled: number;
  /** capacity − idle − charged, and charged − what the records cost, absolute and added. */
  readonly differenceNanoUsd: bigint;
  /** Tokens of whole answers in the ledger, and as their engines counted them. */
  readonly tokensRecorded: number;
  readonly tokensOfEngines: number;
  /** One line for each promise that was broken. */
  readonly problems: readonly string[];
}

export interface ExpectedBooks {
  readonly traffic: ChaosTraffic;
  /** A process died with lines that its full disk had refused: records may be missing or interrupted, their money stands without a team. */
  readonly atRisk: boolean;
}

/**
 * True once every whole answer has its record and nothing that was charged waits for its team. Where records may be missing, every second up to
 * `endedAtMs` (epoch), when the traffic was over, must be frozen instead: before that nobody has been charged for it.
 */
export async function isSettled(
  store: OpenedStore,
  { traffic, atRisk }: ExpectedBooks,
  endedAtMs: number,
): Promise<boolean> {
  if (atRisk && ((await store.books.readStatus()).frontier ?? 0) < windowOf(endedAtMs)) return false;
  const books = await readAllBooks(store);
  if (sumBooks(books, 'chargedNanoUsd') !== sumBooks(books, 'claimedNanoUsd')) return false;
  if (atRisk) return true;
  const records = await readAllRecords(store);
  const known = new Set(records.map(({ requestId }) => requestId));
  return [...traffic.whole].every((id) => known.has(id));
}

/** Checks everything that does not need a gateway. */
export async function checkBooks(stage: ChaosStage, expected: ExpectedBooks): Promise<BooksVerdict> {
  const store = stage.openStore();
  try {
    await store.settlement.open();
    return await checkStore(store, stage, expected);
  } finally {
    await store.settlement.close();
  }
}

async function checkStore(store: OpenedStore, stage: ChaosStage, expected: ExpectedBooks): Promise<BooksVerdict> {
  const { traffic, atRisk } = expected;
  const problems: string[] = [];
  const records = await readAllRecords(store);
  const completed = new Map<string, SettledRecordJson>();
  const seen = new Set<string>();
  let doubled = 0;
  for (const record of records) {
    if (seen.has(record.recordId)) {
      doubled += 1;
      problems.push(`two records of ${record.recordId}`);
    }
    seen.add(record.recordId);
    if (record.outcome !== 'completed') continue;
    if (completed.has(record.requestId)) {
      doubled += 1;
      problems.push(`two completed attempts of ${record.requestId}`);
    }
    completed.set(record.requestId, record);
  }
  const missing = [...traffic.whole].filter((id) => !completed.has(id));
  const lost = atRisk ? [] : missing;
  for (const id of lost) {
    const found = records.filter(({ requestId }) => requestId === id).map(({ outcome }) => outcome);
    problems.push(`its client got ${id} whole, the ledger has ${found.length === 0 ? 'nothing' : found.join(', ')}`);
  }
  const tokens = compareTokens(stage, completed, traffic, problems);
  const books = await readAllBooks(store);
  const cells = await readAllCells(store);
  const differenceNanoUsd = compareMoney({ books, cells, records, atRisk }, problems);
  await checkCapacity(store, books, problems);
  const requests = sumCells(cells, 'requests') + sumCells(cells, 'rejectedRequests');
  const distinct = BigInt(new Set(records.map(({ requestId }) => requestId)).size);
  if (requests !== distinct) problems.push(`the rollups have ${requests} requests, the records ${distinct}`);
  if (distinct > BigInt(traffic.asked)) problems.push(`${traffic.asked} were asked, ${distinct} are in the books`);
  await checkVerify(store, problems);
  return { records: records.length, lost: lost.length, doubled, differenceNanoUsd, ...tokens, problems };
}

function compareTokens(
  stage: ChaosStage,
  completed: ReadonlyMap<string, SettledRecordJson>,
  traffic: ChaosTraffic,
  problems: string[],
): Pick<BooksVerdict, 'tokensRecorded' | 'tokensOfEngines'> {
  const truths = stage.engines.flatMap((engine) => engine.truth().requests);
  const truth = new Map(truths.filter(({ aborted }) => !aborted).map((request) => [request.requestId, request]));
  let tokensRecorded = 0;
  let tokensOfEngines = 0;
  for (const id of traffic.whole) {
    const record = completed.get(id);
    const engine = truth.get(id);
    if (engine === undefined) problems.push(`no engine knows ${id}, which its client got whole`);
    if (record === undefined || engine === undefined) continue;
    const input = (record.tokens.input ?? 0) + (record.tokens.cachedInput ?? 0);
    const output = (record.tokens.output ?? 0) + (record.tokens.reasoning ?? 0);
    tokensRecorded += input + output;
    tokensOfEngines += engine.promptTokens + engine.completionTokens;
    if (input !== engine.promptTokens || output !== engine.completionTokens)
      problems.push(
        `${id}: recorded ${input} + ${output} tokens, its engine counted ${engine.promptTokens} + ${engine.completionTokens}`,
      );
  }
  return { tokensRecorded, tokensOfEngines };
}

interface Money {
  readonly books: readonly BookCell[];
  readonly cells: readonly RollupCell[];
  readonly records: readonly SettledRecordJson[];
  readonly atRisk: boolean;
}

/** capacity = charged + idle, charged = claimed = rollups = records. */
function compareMoney({ books, cells, records, atRisk }: Money, problems: string[]): bigint {
  const charged = sumBooks(books, 'chargedNanoUsd');
  const claimed = sumBooks(books, 'claimedNanoUsd');
  const inCells = sumCells(cells, 'costNanoUsd');
  const inRecords = records
    .flatMap(({ charges }) => charges)
    .reduce((sum, { costNanoUsd }) => sum + BigInt(costNanoUsd), 0n);
  const split = sumBooks(books, 'capacityNanoUsd') - charged - sumBooks(books, 'idleNanoUsd');
  if (split !== 0n) problems.push(`capacity − charged − idle = ${split} nanodollars`);
  if (claimed !== charged) problems.push(`${charged - claimed} nanodollars are charged and claimed by nobody`);
  if (inCells !== claimed) problems.push(`the rollups hold ${inCells} nanodollars, the claims ${claimed}`);
  const unattributed = cells
    .filter(({ team }) => team === UNATTRIBUTED)
    .reduce((sum, { metrics }) => sum + metrics.costNanoUsd, 0n);
  if (unattributed !== 0n && !atRisk) problems.push(`${unattributed} nanodollars are attributed to nobody`);
  const held = inRecords + unattributed;
  if (held !== claimed) problems.push(`the records cost ${held} nanodollars, the claims ${claimed}`);
  return absolute(split) + absolute(charged - held);
}

/** Every second from the first priced one to the frontier accrued its capacity once: the sum telescopes (settlement.md, arithmetic). */
async function checkCapacity(store: OpenedStore, books: readonly BookCell[], problems: string[]): Promise<void> {
  const [facts, { frontier }] = [await store.books.readFacts(), await store.books.readStatus()];
  for (const [pool, versions] of Object.entries(facts.pools)) {
    const from = versions[0]?.effectiveFrom;
    if (from === undefined || frontier === null) continue;
    const inForce = factsInForce(facts, pool, frontier);
    const price = inForce === undefined ? undefined : priceAt(inForce, frontier);
    if (inForce === undefined || price === undefined) continue;
    const hourly = poolHourNanoUsd(inForce, price);
    const accrued = (second: number) =>
      BigInt(Math.floor(second / HOUR_SECONDS)) * hourly +
      (hourly * BigInt(second % HOUR_SECONDS)) / BigInt(HOUR_SECONDS);
    const expected = accrued(frontier + 1) - accrued(from);
    const found = sumBooks(
      books.filter((cell) => cell.pool === pool),
      'capacityNanoUsd',
    );
    if (found !== expected)
      problems.push(
        `${pool}: ${frontier + 1 - from} seconds are worth ${expected} nanodollars, the books have ${found}`,
      );
  }
}

async function checkVerify(store: OpenedStore, problems: string[]): Promise<void> {
  const { ledger, books } = store;
  const to = Math.floor(Date.now() / 1000) + 2 * HOUR_SECONDS;
  const period = { from: Math.floor(to / HOUR_SECONDS - 6) * HOUR_SECONDS, to: null };
  const result = await verifyLedger({
    ledger,
    books,
    recordsMs: 35 * DAY_MS,
    rollupsMs: 400 * DAY_MS,
    period,
    onProgress: () => {},
  });
  if (!result.ok) {
    const broken = JSON.stringify(result.firstBroken, (_, value: unknown) =>
      typeof value === 'bigint' ? value.toString() : value,
    );
    problems.push(`ledger verify: difference ${result.differenceNanoUsd}, first broken ${broken}`);
  }
}

/** Everything within hours of now: a schedule takes seconds, its clock steps less. */
function nearHours(): { from: number; to: number } {
  const hour = Math.floor(Date.now() / 1000 / HOUR_SECONDS) * HOUR_SECONDS;
  return { from: hour - 3 * HOUR_SECONDS, to: hour + 3 * HOUR_SECONDS };
}

function readAllBooks(store: OpenedStore): Promise<readonly BookCell[]> {
  return store.books.readBooks(nearHours());
}

function readAllCells(store: OpenedStore): Promise<readonly RollupCell[]> {
  return store.books.readRollups(nearHours(), 'hour');
}

/** Not deduplicated: a record that stands twice must show. Call it when nothing settles any more, or expect a page to shift. */
async function readAllRecords(store: OpenedStore): Promise<SettledRecordJson[]> {
  const found: SettledRecordJson[] = [];
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<OpenedStore['books']['readRecords']>> = await store.books.readRecords({
      limit: 1000,
      ...(cursor === null ? {} : { cursor }),
    });
    found.push(...page.records);
    cursor = page.next;
  } while (cursor !== null);
  return found;
}

function sumBooks(books: readonly BookCell[], metric: keyof BookCell['metrics']): bigint {
  return books.reduce((sum, { metrics }) => sum + metrics[metric], 0n);
}

function sumCells(cells: readonly RollupCell[], metric: keyof RollupCell['metrics']): bigint {
  return cells.reduce((sum, { metrics }) => sum + metrics[metric], 0n);
}

function absolute(amount: bigint): bigint {
  return amount < 0n ? -amount : amount;
}
