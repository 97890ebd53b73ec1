// Rollup increments and claimed amounts of a scan, put aside by hour in files, so that memory holds one hour at a time. No checks here.
import { createReadStream, existsSync } from 'node:fs';
import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CELL_METRICS, type Claim } from '#domain/settlement.ts';
import { addToCell, type CellSums, nameCell, parseMetrics } from './cell-sums.ts';
import { readLines } from './read-lines.ts';

/** Rows in memory before they go to the files. */
const ROWS_MAX = 20_000;

export interface HourSums {
  readonly cells: CellSums;
  /** Nanodollars claimed by pool. */
  readonly claimed: ReadonlyMap<string, bigint>;
}

type Row = ['cell', name: string, ...values: string[]] | ['pool', pool: string, nanoUsd: string];

/** Owns a folder of its own under the system's temporary one, readable by this user only; `close` removes it. */
export class IncrementSpool {
  readonly #period: { readonly from: number; readonly to: number };
  readonly #rows = new Map<number, string[]>();
  #count = 0;
  #folder: string | null = null;

  /** Hours outside the period (epoch seconds, `to` exclusive) are not kept. */
  constructor(period: { readonly from: number; readonly to: number }) {
    this.#period = period;
  }

  /** What a claim, or a write-off, moved. */
  async add(claim: Pick<Claim, 'increments' | 'pools'>): Promise<void> {
    for (const increment of claim.increments) {
      const metrics = parseMetrics(increment);
      const values = CELL_METRICS.map((metric) => String(metrics[metric] ?? 0n));
      this.#push(increment.hour, ['cell', nameCell(increment), ...values]);
    }
    for (const { hour, pool, nanoUsd } of claim.pools) this.#push(hour, ['pool', pool, nanoUsd]);
    if (this.#count >= ROWS_MAX) await this.#flush();
  }

  async sum(hour: number): Promise<HourSums> {
    await this.#flush();
    const cells: CellSums = new Map();
    const claimed = new Map<string, bigint>();
    const path = this.#folder === null ? null : join(this.#folder, String(hour));
    if (path === null || !existsSync(path)) return { cells, claimed };
    for await (const lines of readLines(createReadStream(path))) {
      for (const line of lines) {
        const [kind, name, ...values] = JSON.parse(line) as Row;
        if (kind === 'pool') claimed.set(name, (claimed.get(name) ?? 0n) + BigInt(values[0] ?? '0'));
        else {
          const pairs = CELL_METRICS.map((metric, i) => [metric, BigInt(values[i] ?? '0')] as const);
          addToCell(cells, name, Object.fromEntries(pairs));
        }
      }
    }
    return { cells, claimed };
  }

  async close(): Promise<void> {
    if (this.#folder !== null) await rm(this.#folder, { recursive: true, force: true });
    this.#folder = null;
  }

  #push(hour: number, row: Row): void {
    if (hour < this.#period.from || hour >= this.#period.to) return;
    const rows = this.#rows.get(hour) ?? [];
    this.#rows.set(hour, rows);
    rows.push(JSON.stringify(row));
    this.#count += 1;
  }

  async #flush(): Promise<void> {
    if (this.#count === 0) return;
    this.#folder ??= await mkdtemp(join(tmpdir(), 'inferometer-verify-'));
    for (const [hour, rows] of this.#rows) await appendFile(join(this.#folder, String(hour)), `${rows.join('\n')}\n`);
    this.#rows.clear();
    this.#count = 0;
  }
}
