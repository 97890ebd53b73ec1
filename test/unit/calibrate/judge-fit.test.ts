// Which fits are refused, and what is said about the ones that are not.
import { describe, expect, it } from 'vitest';
import type { FittedTerm, ProfileFit } from '#src/calibrate/fit-profile.ts';
import { judgeFit } from '#src/calibrate/judge-fit.ts';
import type { FittedName } from '#src/calibrate/observation.ts';

const term = (value: number, more: Partial<FittedTerm> = {}): FittedTerm => ({
  value,
  low: value * 0.9,
  high: value * 1.1,
  source: 'measured',
  isNegative: false,
  ...more,
});
const GOOD: Readonly<Record<FittedName, FittedTerm>> = {
  iterationMs: term(7.2),
  prefillTokenMs: term(0.022),
  prefillContextMs: term(1.2e-6),
  decodeStepMs: term(0.03),
  contextTokenMs: term(6e-5),
  overheadMs: term(6),
};
const fitOf = (terms: Partial<typeof GOOD> = {}, more: Partial<ProfileFit> = {}): ProfileFit => ({
  terms: { ...GOOD, ...terms },
  rSquared: { prefill: 0.999, decode: 0.99 },
  residual: 0.01,
  used: 40,
  rejected: 0,
  ...more,
});
const MEASURED = { observations: [], chunkTokens: 2048, longestPromptTokens: 14_000, tokensPerEvent: 1, batchMax: 32 };

describe('judgeFit', () => {
  it('a good fit has neither reasons nor notes', () => {
    expect(judgeFit(fitOf(), MEASURED, true)).toEqual({ reasons: [], notes: [] });
  });

  it('each way to be unfit is refused for its own reason', () => {
    const unfit: readonly (readonly [ProfileFit, RegExp])[] = [
      [fitOf({}, { rSquared: { prefill: 0.85, decode: 0.99 } }), /R² below 0.9/],
      [fitOf({}, { rSquared: { prefill: 0.99, decode: 0.2 } }), /decoding/],
      [fitOf({}, { residual: 0.3 }), /misses/],
      [fitOf({ decodeStepMs: term(0, { isNegative: true }) }), /negative/],
      [fitOf({ prefillTokenMs: term(0) }), /cache/],
      [fitOf({ iterationMs: term(0) }), /free/],
      [fitOf({ iterationMs: term(9000) }), /9\.0 s/],
      [fitOf({ prefillTokenMs: term(8) }), /dearer than a whole iteration/],
      [fitOf({ decodeStepMs: term(30) }), /does not batch/],
    ];
    for (const [fit, reason] of unfit) {
      const { reasons } = judgeFit(fit, MEASURED, true);
      expect(reasons.length, String(reason)).toBeGreaterThan(0);
      expect(reasons.join(' ')).toMatch(reason);
    }
  });

  it('a phase of which nothing was measured is refused: what is built in is no calibration', () => {
    const prior = { source: 'prior' } as const;
    const cached = fitOf({ prefillTokenMs: term(0.06, prior), prefillContextMs: term(1e-6, prior) });
    const { reasons } = judgeFit(cached, { ...MEASURED, longestPromptTokens: 1 }, true);
    expect(reasons.join()).toMatch(/nothing of prompts was measured: of none more than 1 tokens were computed/);
    const silent = fitOf({ iterationMs: term(9, prior), decodeStepMs: term(0.05, prior) });
    const verdict = judgeFit(silent, { ...MEASURED, batchMax: 0 }, true);
    expect(verdict.reasons.join()).toMatch(/nothing of decoding was measured/);
    expect(verdict.notes.join()).not.toMatch(/side by side/);
  });

  it('what could not be measured is named, without refusing the rest', () => {
    const { reasons, notes } = judgeFit(
      fitOf({ contextTokenMs: term(6e-5, { source: 'prior' }) }, { rSquared: { prefill: 0.99, decode: null } }),
      { ...MEASURED, longestPromptTokens: 800, batchMax: 1, tokensPerEvent: 3.2 },
      true,
    );
    expect(reasons).toEqual([]);
    expect(notes.join(' | ')).toMatch(
      /per token of context.*never ran more than 1 .*3\.2 tokens per event.*had 800 tokens/,
    );
  });

  it('an engine that only embeds is judged by its prompts alone', () => {
    const prior = { source: 'prior' } as const;
    const fit = fitOf({ iterationMs: term(0.01), decodeStepMs: term(0.03, prior), contextTokenMs: term(6e-5, prior) });
    const verdict = judgeFit(fit, { ...MEASURED, chunkTokens: null, batchMax: 0 }, false);
    expect(verdict.reasons).toEqual([]);
    expect(verdict.notes).toHaveLength(1);
  });
});
