// Corrections and closed months of a report: which vouchers touch its period, and what they say. Pure; reading is read-report.ts's.
import type { Period } from '#domain/books.ts';
import type { CloseContent, CorrectionLine, LateClaim, Voucher } from '#domain/voucher.ts';
import type { Dimensioned, DimensionValues } from './dimensions.ts';
import type { ReportCorrection } from './report-shape.ts';

type BareCorrection = Omit<ReportCorrection, 'dimensions'>;

export interface CorrectionSource {
  readonly vouchers: readonly Voucher[];
  readonly lateClaims: readonly LateClaim[];
}

/** One line per row that changed, in the order in which they were booked; the lines of one correction sum to 0. */
export function listCorrections(
  { vouchers, lateClaims }: CorrectionSource,
  period: Period,
  readDimensions: (line: Dimensioned) => DimensionValues,
): readonly ReportCorrection[] {
  const isInside = (hour: number) => hour >= period.from && hour < period.to;
  const adjusted = vouchers.flatMap(({ id, atMs, author, reason, content }) => {
    if (content.kind !== 'adjustment' || !isInside(content.hour)) return [];
    const { hour, corrects, lines } = content;
    const at = Math.floor(atMs / 1000);
    return toLines(lines, { kind: 'adjustment', id, at, hour, corrects, author, reason });
  });
  const ordered = lateClaims
    .filter(({ hour }) => isInside(hour))
    .toSorted((a, b) => a.hour - b.hour || compareText(a.journal, b.journal) || a.seq - b.seq);
  const late = ordered.flatMap(({ journal, seq, hour, corrects: month, lines }) => {
    const corrects = new Date(month * 1000).toISOString().slice(0, 7);
    const reason = `claimed after ${corrects} was closed`;
    return toLines(lines, {
      kind: 'late',
      id: `${journal}.${seq}`,
      at: hour,
      hour,
      corrects,
      author: 'inferometer',
      reason,
    });
  });
  return [...adjusted, ...late].map((line) => ({ ...line, dimensions: readDimensions({ ...line, start: line.hour }) }));
}

/** The close that covers a whole period; null while any of it is open. */
export function findClose(
  vouchers: readonly Voucher[],
  period: Period,
): { readonly content: CloseContent; readonly hash: string; readonly atMs: number } | null {
  for (const { content, hash, atMs } of vouchers) {
    if (content.kind === 'close' && period.to <= content.to) return { content, hash, atMs };
  }
  return null;
}

function toLines(
  lines: readonly CorrectionLine[],
  shared: Omit<BareCorrection, keyof CorrectionLine>,
): readonly BareCorrection[] {
  return lines.map(({ nanoUsd, ...row }) => ({ ...shared, ...row, nanoUsd: BigInt(nanoUsd) }));
}

function compareText(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
