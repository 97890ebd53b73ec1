// What a model's name says about its size and precision. Names only: nothing is ever fetched.

/** Shape of a model as far as its name tells. */
export interface ModelSize {
  /** 10^9 parameters whose weights lie in memory. */
  readonly billions: number;
  /** 10^9 parameters that one token passes through; fewer than `billions` in a mixture of experts. */
  readonly activeBillions: number;
  /** Of one weight: 2 (bf16, the default), 1 (8-bit) or 0.5 (4-bit). */
  readonly bytesPerWeight: number;
  /** True where the arithmetic itself runs in 8 bits. */
  readonly eightBitArithmetic: boolean;
}

/** Models whose usual names do not say their size: [pattern, billions, active billions]. */
const NAMED: readonly (readonly [pattern: RegExp, billions: number, active: number])[] = [
  [/mixtral-?8x22/, 141, 39],
  [/mixtral/, 46.7, 12.9],
  [/deepseek-?(v3|r1)(?!.*distill)/, 671, 37],
  [/mistral-?nemo/, 12.2, 12.2],
  [/mistral-?small/, 24, 24],
  [/mistral-?large/, 123, 123],
  [/ministral/, 8, 8],
  [/codestral/, 22, 22],
  [/command-?r-?\+|command-?r-?plus/, 104, 104],
  [/command-?r/, 35, 35],
  [/llama-?4-?maverick/, 400, 17],
  [/llama-?4-?scout/, 109, 17],
  [/phi-?4-?mini|phi-?3(\.5)?-?mini/, 3.8, 3.8],
  [/phi-?4|phi-?3(\.5)?-?medium/, 14, 14],
  [/zephyr|starling/, 7, 7],
];

/**
 * Size by the first of `names` that tells one: experts (`8x7b`), total and active (`30b-a3b`), plain (`70B`, `0.5b`, `350m`), or a
 * known family without a number (`mistral-nemo`). Precision by any of them (`fp8`, `w8a8`, `awq`, `int4`, …). Null when none tells a size.
 * Of `MxNb`, the experts share attention: total ≈ 0.83·M·N, active ≈ two experts, 1.84·N (Mixtral: 46.7 and 12.9).
 */
export function readModelSize(names: readonly string[]): ModelSize | null {
  const spelled = names.map((name) => name.toLowerCase().replaceAll(/[\s_]+/g, '-'));
  const all = spelled.join(' ');
  const eightBitArithmetic = /fp8|w8a8/.test(all);
  const fourBit = /awq|gptq|int4|w4a16|nf4|fp4|bnb-4bit|-4bit|q4/.test(all);
  const bytesPerWeight = fourBit ? 0.5 : eightBitArithmetic || /int8|w8a16|-8bit|q8/.test(all) ? 1 : 2;
  for (const name of spelled) {
    const billions = readBillions(name);
    if (billions !== null) return { ...billions, bytesPerWeight, eightBitArithmetic };
  }
  return null;
}

function readBillions(name: string): Pick<ModelSize, 'billions' | 'activeBillions'> | null {
  const experts = /(?:^|[^a-z0-9.])(\d+)x(\d+(?:\.\d+)?)b(?![a-z0-9])/.exec(name);
  if (experts !== null) {
    const perExpert = Number(experts[2]);
    const total = 0.83 * Number(experts[1]) * perExpert;
    return toSize(total, Math.min(total, 1.84 * perExpert));
  }
  const plain = /(?:^|[^a-z0-9.])(\d+(?:\.\d+)?)(b|m)(?![a-z0-9])/.exec(name);
  if (plain !== null) {
    const total = Number(plain[1]) / (plain[2] === 'm' ? 1000 : 1);
    const active = /-a(\d+(?:\.\d+)?)b(?![a-z0-9])/.exec(name);
    return toSize(total, active === null ? total : Math.min(total, Number(active[1])));
  }
  const named = NAMED.find(([pattern]) => pattern.test(name));
  return named === undefined ? null : toSize(named[1], named[2]);
}

function toSize(billions: number, activeBillions: number): Pick<ModelSize, 'billions' | 'activeBillions'> | null {
  return billions > 0 && activeBillions > 0 ? { billions, activeBillions } : null;
}
