// The command `config check`: loads a file as `serve` would and prints all that is wrong with it.
import type { Environment } from './interpolate.ts';
import { loadConfig } from './load-config.ts';
import { formatProblem } from './problem.ts';

/** `out` takes the answer; `err` (by default stderr) the problems where the answer is not JSON. */
export interface ConfigCheckOptions {
  readonly path: string;
  readonly env: Environment;
  readonly json: boolean;
  readonly out: (text: string) => void;
  readonly err?: (text: string) => void;
  /** Epoch milliseconds at which prices must be in force; the machine's time by default. */
  readonly nowMs?: number;
}

/** Exit code 0 when the file may be used (warnings included), 2 when not. JSON shapes: contract §2. */
export function runConfigCheck(options: ConfigCheckOptions): 0 | 2 {
  const { path, env, nowMs, out } = options;
  const err = options.err ?? ((text: string) => void process.stderr.write(text));
  const result = loadConfig({ path, env, ...(nowMs === undefined ? {} : { nowMs }) });
  if (options.json) {
    const answer = result.ok
      ? { ok: true, problems: [], warnings: result.warnings }
      : { ok: false, problems: result.problems };
    out(`${JSON.stringify(answer)}\n`);
    return result.ok ? 0 : 2;
  }
  if (!result.ok) {
    for (const problem of result.problems) err(`${formatProblem(problem)}\n`);
    err(`inferometer: ${path} has ${countOf(result.problems.length, 'problem')}.\n`);
    return 2;
  }
  for (const warning of result.warnings) err(`warning: ${formatProblem(warning)}\n`);
  const { deployments, teams, prices } = result.config;
  out(
    `${path} is valid: ${countOf(deployments.length, 'deployment')}, ${countOf(prices.length, 'price')}, ` +
      `${countOf(teams.length, 'team')}, ${countOf(result.warnings.length, 'warning')}.\n`,
  );
  return 0;
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
