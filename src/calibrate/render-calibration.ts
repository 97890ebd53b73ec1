// A calibration as text for a person and as JSON for a program. Prints nothing itself.
import CliTable from 'cli-table3';
import { styleText } from 'node:util';
import type { Calibration } from './calibrate-engine.ts';
import type { FittedTerm } from './fit-profile.ts';
import type { FittedName } from './observation.ts';
import { PROFILE_NAMES } from './judge-fit.ts';

/** What was calibrated. `url` without credentials. */
export interface CalibrationSubject {
  /** Null where there is no config. */
  readonly deployment: string | null;
  readonly upstream: string;
  readonly url: string;
  readonly model: string;
  readonly engine: string;
}

export interface CalibrationReport {
  readonly subject: CalibrationSubject;
  readonly calibration: Calibration;
  /** Whether the profile may be used: no reasons against it, or the user insists. */
  readonly accepted: boolean;
  /** The config line; null without a profile. */
  readonly configLine: string | null;
  /** File it was written to; null for none. */
  readonly written: string | null;
}

/** One JSON object with a final newline; times in milliseconds. */
export function renderCalibrationJson(report: CalibrationReport): string {
  const { subject, calibration, accepted, configLine, written } = report;
  const { result } = calibration;
  const answer = {
    schema: 'inferometer.calibration/1',
    ...subject,
    route: calibration.route,
    accepted,
    reasons: calibration.reasons,
    notes: calibration.notes,
    profile: result?.profile ?? null,
    terms:
      result === undefined
        ? null
        : Object.fromEntries(PROFILE_NAMES.map((name) => [name, describeTerm(result.fit.terms[name])])),
    overheadMs: result === undefined ? null : describeTerm(result.fit.terms.overheadMs),
    prefillTokensPerIteration: result?.measured.chunkTokens ?? null,
    fit:
      result === undefined
        ? null
        : {
            error: round(result.fit.residual),
            rSquared: {
              prefill: result.fit.rSquared.prefill === null ? null : round(result.fit.rSquared.prefill),
              decode: result.fit.rSquared.decode === null ? null : round(result.fit.rSquared.decode),
            },
            measurements: result.fit.used,
            outliers: result.fit.rejected,
          },
    config: configLine,
    written,
  };
  return `${JSON.stringify(answer)}\n`;
}

function describeTerm({ value, low, high, source }: FittedTerm): Readonly<Record<string, unknown>> {
  return { value: round(value), low: round(low), high: round(high), source };
}

const round = (value: number): number => Number(value.toPrecision(5));

/** Text with a final newline; escape codes only with `color`. */
export function renderCalibrationText(report: CalibrationReport, { color }: { readonly color: boolean }): string {
  const { subject, calibration, accepted, configLine, written } = report;
  const paint = (format: 'bold' | 'red' | 'yellow' | 'green', text: string): string =>
    color ? styleText(format, text, { validateStream: false }) : text;
  const { result } = calibration;
  const lines = [
    paint('bold', `Engine profile of ${subject.deployment ?? subject.model} (${subject.engine} at ${subject.url})`),
    ...(result === undefined
      ? ['Nothing was fitted.']
      : [renderTerms(result.fit.terms, color), ...renderQuality(result)]),
    ...calibration.reasons.map((reason) =>
      paint(accepted ? 'yellow' : 'red', `${accepted ? 'Warning' : 'Refused'}: ${reason}.`),
    ),
    ...calibration.notes.map((note) => paint('yellow', `Note: ${note}.`)),
  ];
  if (configLine !== null && accepted) {
    if (written === null)
      lines.push(
        '',
        subject.deployment === null
          ? 'For the deployment of this engine in the config:'
          : `For deployment ${subject.deployment} in the config (--write does it):`,
        `    ${configLine}`,
      );
    else lines.push(paint('green', `Written to ${written}. A running gateway takes it over on SIGHUP.`));
  }
  if (!accepted)
    lines.push('Not fit to charge by. Try again when the engine is idle, or see the numbers with --force.');
  return `${lines.join('\n')}\n`;
}

const LABELS: Readonly<Record<FittedName, string>> = {
  iterationMs: 'iterationMs        fixed, per iteration',
  prefillTokenMs: 'prefillTokenMs     per prompt token',
  prefillContextMs: 'prefillContextMs   per prompt token and token of context',
  decodeStepMs: 'decodeStepMs       per decode step of a sequence',
  contextTokenMs: 'contextTokenMs     per decode step and token of context',
  overheadMs: '(transport and HTTP per request; not in the profile)',
};

function renderTerms(terms: Readonly<Record<FittedName, FittedTerm>>, color: boolean): string {
  const table = new CliTable({
    head: ['term', 'ms', '95 % interval', 'from'],
    colAligns: ['left', 'right', 'right', 'left'],
    style: { compact: true, ...(color ? { head: ['cyan'], border: ['gray'] } : { head: [], border: [] }) },
  });
  for (const name of [...PROFILE_NAMES, 'overheadMs'] as const) {
    const { value, low, high, source } = terms[name];
    table.push([
      LABELS[name],
      short(value),
      `${short(low)} … ${short(high)}`,
      source === 'measured' ? 'measured' : 'built in',
    ]);
  }
  return table.toString();
}

function renderQuality({ fit, measured }: NonNullable<Calibration['result']>): readonly string[] {
  const { prefill, decode } = fit.rSquared;
  const share = (value: number | null): string => (value === null ? 'not applicable' : value.toFixed(4));
  const chunks =
    measured.chunkTokens === null
      ? 'Prompts were computed in one iteration each, as far as could be seen.'
      : `Prompts are computed ${measured.chunkTokens} tokens per iteration.`;
  return [
    `Fit error ${(fit.residual * 100).toFixed(1)} % (median), R² of prompts ${share(prefill)}, of decoding ${share(decode)}; ` +
      `${fit.used} measurements, ${fit.rejected} left out as outliers.`,
    chunks,
  ];
}

function short(value: number): string {
  return value === 0 ? '0' : Number(value.toPrecision(3)).toString();
}
