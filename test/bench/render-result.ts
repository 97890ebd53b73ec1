// A run as text: the figures of each candidate, then the targets. JSON is the same object, printed by run.ts.
import Table from 'cli-table3';
import type { CandidateName } from '#test/bench/candidate.ts';
import { FIGURE_NAMES, type FigureName } from '#test/bench/measure.ts';
import { TARGETS, type Medians, type Verdict } from '#test/bench/targets.ts';

/** Everything a run found out. */
export interface BenchResult {
  readonly schema: 'inferometer.bench/1';
  readonly startedAt: string;
  readonly commit: string;
  readonly host: {
    readonly cpu: string;
    readonly kernel: string;
    readonly node: string;
    readonly nginx: string | null;
  };
  readonly quick: boolean;
  readonly repetitions: number;
  readonly medians: Medians;
  readonly targets: readonly Verdict[];
  /** What a reader must know before believing a figure. */
  readonly notes: readonly string[];
}

/** How each figure is shown: title, divisor, decimals. */
const SHOWN: Readonly<Record<FigureName, readonly [string, number, number]>> = {
  requestsPerSecond: ['requests/s at saturation, one core', 1, 0],
  cpuMicrosPerRequest: ['CPU µs per request, saturated', 1, 1],
  latencyP50Micros: ['p50 at 1,000 req/s, ms', 1000, 3],
  latencyP99Micros: ['p99 at 1,000 req/s, ms', 1000, 3],
  cpuMicrosPerChunk10k: ['CPU µs per chunk at 10k/s', 1, 1],
  chunkDelayP50Micros10k: ['chunk delay p50 at 10k/s, µs', 1, 0],
  chunkDelayP99Micros10k: ['chunk delay p99 at 10k/s, µs', 1, 0],
  cpuMicrosPerChunk25k: ['CPU µs per chunk at 25k/s', 1, 1],
  cpuPercent25k: ['CPU % at 25k/s', 1, 0],
  chunksPerSecond25k: ['chunks/s delivered of 25k', 1, 0],
  cpuPercentChatUsers: ['CPU % with 1,000 chat users, 20 tokens/s each', 1, 0],
  chunksPerSecond: ['chunks/s delivered of 60k, one core', 1, 0],
  residentBytesPerStream: ['RSS per open stream, kB', 1024, 1],
  residentBytesTotal: ['RSS with 2,000 open streams, MB', 1024 ** 2, 1],
};

/** Two tables and the notes, ready for a terminal; no colours. */
export function renderResult(result: BenchResult): string {
  const lines = [
    `${result.startedAt}  ${result.commit}  ${result.host.cpu}, Linux ${result.host.kernel}, Node ${result.host.node}, nginx ${result.host.nginx ?? '–'}`,
    renderFigures(result.medians),
    renderTargets(result.targets),
    ...result.notes.map((note) => `note: ${note}`),
  ];
  return `${lines.join('\n')}\n`;
}

const STYLE = { head: [], border: [] };

function renderFigures(medians: Medians): string {
  const candidates = Object.keys(medians) as CandidateName[];
  const compared = candidates.includes('nginx') ? candidates.filter((name) => name === 'gateway') : [];
  const table = new Table({
    head: ['median of the repetitions', ...candidates, ...compared.map((name) => `${name} ÷ nginx`)],
    style: STYLE,
  });
  for (const name of FIGURE_NAMES) {
    const [title, divisor, decimals] = SHOWN[name];
    const cells = candidates.map((candidate) => format(medians[candidate]?.[name], divisor, decimals));
    const ratios = compared.map((candidate) => {
      const [ours, nginx] = [medians[candidate]?.[name], medians.nginx?.[name]];
      return ours === undefined || nginx === undefined || nginx === 0 ? '–' : (ours / nginx).toFixed(2);
    });
    table.push([title, ...cells, ...ratios]);
  }
  return table.toString();
}

function format(value: number | undefined, divisor: number, decimals: number): string {
  return value === undefined
    ? '–'
    : (value / divisor).toLocaleString('en-US', { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

function renderTargets(verdicts: readonly Verdict[]): string {
  const table = new Table({ head: ['target for the gateway', 'measured', 'limit', 'we want', ''], style: STYLE });
  for (const { title, value, bound, limit, goal, unit, verdict } of verdicts) {
    table.push([
      title,
      value === undefined ? '–' : `${value.toFixed(2)} ${unit}`,
      `${bound} ${limit} ${unit}`,
      `${bound} ${goal} ${unit}`,
      verdict,
    ]);
  }
  return verdicts.length === TARGETS.length ? table.toString() : '';
}
