// The charge lines of attempts whose record has not come yet, and what a record must say about its lines. Bounded by the attempts in flight.
import type { ChargeLine, SettledRecordJson } from '#domain/settlement.ts';
import { type Breakage, createBreakage } from './breakage.ts';

/** Sums of one record's lines in one hour on the GPUs of one deployment. */
export interface LineSums {
  gpuMicros: bigint;
  prefill: bigint;
  decode: bigint;
  other: bigint;
}

/** By `nameCharge`. */
export type LinesByCharge = ReadonlyMap<string, LineSums>;

const NOTHING: LineSums = { gpuMicros: 0n, prefill: 0n, decode: 0n, other: 0n };

/** Lines by record until the record takes them. */
export class RecordLines {
  readonly #open = new Map<string, Map<string, LineSums>>();

  /** Throws SyntaxError where an amount is no integer. */
  add(line: ChargeLine): void {
    const charges = this.#open.get(line.recordId) ?? new Map<string, LineSums>();
    this.#open.set(line.recordId, charges);
    const name = nameCharge(line);
    const sums = charges.get(name) ?? { ...NOTHING };
    charges.set(name, sums);
    sums[line.phase] += BigInt(line.costNanoUsd);
    sums.gpuMicros += BigInt(line.gpuMicros);
  }

  /** The lines of a record, which are then forgotten. */
  take(recordId: string): LinesByCharge {
    const lines = this.#open.get(recordId) ?? new Map<string, LineSums>();
    this.#open.delete(recordId);
    return lines;
  }
}

/** Null when a record's charges are exactly the sums of its lines; else the first hour that differs. */
export function compareLines(record: SettledRecordJson, lines: LinesByCharge): Breakage | null {
  const charged = new Map(record.charges.map((charge) => [nameCharge(charge), charge]));
  if (charged.size < record.charges.length) {
    const what = { expected: 'one charge per hour and deployment', found: 'several' };
    return createBreakage('line', { id: record.recordId, hour: null }, what);
  }
  for (const name of [...new Set([...lines.keys(), ...charged.keys()])].toSorted()) {
    const hour = Number(name.split(' ', 1)[0]);
    const sums = lines.get(name) ?? NOTHING;
    const charge = charged.get(name);
    const cost = sums.prefill + sums.decode + sums.other;
    const pairs: readonly (readonly [string, bigint, string])[] = [
      ['costNanoUsd', cost, charge?.costNanoUsd ?? '0'],
      ['prefillNanoUsd', sums.prefill, charge?.prefillNanoUsd ?? '0'],
      ['decodeNanoUsd', sums.decode, charge?.decodeNanoUsd ?? '0'],
      ['otherNanoUsd', sums.other, charge?.otherNanoUsd ?? '0'],
      ['gpuMicros', sums.gpuMicros, charge?.gpuMicros ?? '0'],
    ];
    const wrong = pairs.find(([, sum, said]) => sum.toString() !== said);
    if (wrong !== undefined) {
      const [name, sum, said] = wrong;
      const what = { expected: `${name} ${said} of the record`, found: `${name} ${sum} in its lines` };
      return createBreakage('line', { id: record.recordId, hour }, what);
    }
  }
  return null;
}

/** Hours have ten digits, so that names are in the order of time. */
function nameCharge({ hour, deployment = '' }: Pick<ChargeLine, 'hour' | 'deployment'>): string {
  return `${hour} ${deployment}`;
}
