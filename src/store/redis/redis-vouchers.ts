// Vouchers and late claims in Redis. Not here: what they mean (domain/voucher.ts).
import { BOOK_METRICS } from '#domain/settlement.ts';
import type { CloseEffect, Voucher, VoucherStore } from '#domain/voucher.ts';
import { formatLink } from '../claim-entries.ts';
import { spreadIncrements } from '../rollup-cells.ts';
import { cellsExpiry } from './expiries.ts';
import type { RedisConnection } from './redis-connection.ts';
import { KeyNumbers } from './sync-arguments.ts';

const CHARGED = BOOK_METRICS.indexOf('chargedNanoUsd');
const CLAIMED = BOOK_METRICS.indexOf('claimedNanoUsd');

/** Shares the connection of the other ports. */
export class RedisVouchers implements VoucherStore {
  readonly #connection: RedisConnection;

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async addVoucher(voucher: Voucher, effect: CloseEffect | null): Promise<'added' | 'stale'> {
    const { keys, options } = this.#connection;
    const numbers = new KeyNumbers([keys.meta, keys.vouchers, keys.journals, keys.dims]);
    const { content } = voucher;
    const heads =
      content.kind === 'close'
        ? Object.fromEntries(Object.entries(content.heads).map(([journal, link]) => [journal, formatLink(link)]))
        : undefined;
    const parts = {
      openFrom: content.kind === 'close' ? content.from : content.hour,
      closedThrough: content.kind === 'close' ? String(content.to) : '',
      heads,
      books: (effect?.books ?? []).map(({ hour, pool, nanoUsd, chargedNanoUsd, claimedNanoUsd }) => [
        numbers.numberOf(keys.books(hour)),
        `${CHARGED}:${pool}`,
        `${CLAIMED}:${pool}`,
        chargedNanoUsd,
        claimedNanoUsd,
        nanoUsd,
      ]),
      cells: spreadIncrements(effect?.increments ?? []).map(({ granularity, start, dims, values }) => [
        numbers.numberOf(keys.cells(granularity, start)),
        cellsExpiry(granularity, start, options.retention),
        dims,
        ...values.flatMap((value, metric) => (value === 0n && metric > 0 ? [] : [String(metric), String(value)])),
      ]),
    };
    const { n, previousHash, hash } = voucher;
    const args = [String(n), previousHash, hash, JSON.stringify(voucher), JSON.stringify(parts)];
    return (await this.#connection.runScript('addVoucher', numbers.keys, args)) === 1 ? 'added' : 'stale';
  }
}
