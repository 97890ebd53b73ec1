import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { silentLog, type Log } from '#domain/log.ts';
import {
  createTokenCounter,
  INLINE_BYTES_MAX,
  type TokenCounter,
  type TokenCounterOptions,
} from '#tokenizer/count-tokens.ts';
import { TokenizerError } from '#tokenizer/tokenizer-error.ts';
import { fixturePath, loadFixture } from './fixture-tokenizers.ts';

const tokenizer = loadFixture('byte-level-bpe');
const expected = (text: string): number => tokenizer.count(text, { addSpecialTokens: false });
const PROSE = 'the quick brown fox jumps over the lazy dog. ';

function open(options: Partial<TokenCounterOptions> = {}): TokenCounter {
  const counter = createTokenCounter({
    tokenizers: { llama: fixturePath('byte-level-bpe') },
    log: silentLog,
    ...options,
  });
  onTestFinished(() => counter.close());
  return counter;
}

/** Patient, so that a slow machine fails no test: the limits have tests of their own. */
const PATIENT = { waitMs: 15_000, runMs: 15_000 };

describe('short texts', () => {
  test('are counted at once, without a promise', () => {
    const counter = open();
    expect(counter.countText('llama', PROSE)).toBe(expected(PROSE));
    expect(counter.countText('llama', [PROSE, PROSE])).toBe(2 * expected(PROSE));
    const json = Buffer.from(JSON.stringify({ prompt: [1, 2, 3] }));
    expect(counter.countPrompt('llama', json, 'completion')).toBe(3);
  });

  test('and long ones come to the same count', async () => {
    const direct = open();
    const threaded = open({ inlineBytesMax: 0, limits: PATIENT });
    const json = Buffer.from(JSON.stringify({ messages: [{ role: 'user', content: PROSE }] }));
    expect(await threaded.countText('llama', PROSE)).toBe(direct.countText('llama', PROSE));
    expect(await threaded.countPrompt('llama', json, 'chat')).toBe(direct.countPrompt('llama', json, 'chat'));
  });
});

describe('long texts', () => {
  test('are counted in the thread, in the order in which they came', async () => {
    const counter = open({ limits: PATIENT });
    const text = PROSE.repeat(100);
    expect(Buffer.byteLength(text)).toBeGreaterThan(INLINE_BYTES_MAX);
    const counts = [1, 2, 3].map((times) => counter.countText('llama', text.repeat(times)));
    expect(counts.every((count) => count instanceof Promise)).toBe(true);
    expect(await Promise.all(counts)).toEqual([1, 2, 3].map((times) => expected(text.repeat(times))));
  });

  test('a body that is a view of a larger buffer is counted by its own bytes', async () => {
    const counter = open({ inlineBytesMax: 0, limits: PATIENT });
    const whole = Buffer.from(`junk${JSON.stringify({ prompt: [7, 8] })}junk`);
    expect(await counter.countPrompt('llama', whole.subarray(4, -4), 'completion')).toBe(2);
  });

  test('binary rubbish is null', async () => {
    const counter = open({ inlineBytesMax: 0, limits: PATIENT });
    expect(await counter.countPrompt('llama', Buffer.from([0xff, 0x00, 0x7b, 0x22]), 'chat')).toBeNull();
    expect(await counter.countPrompt('llama', Buffer.alloc(0), 'chat')).toBeNull();
  });
});

describe('bounds', () => {
  test('a text over the size is null at once', async () => {
    const counter = open({ limits: { ...PATIENT, jobBytesMax: 2_000 } });
    expect(await counter.countText('llama', 'x'.repeat(2_001))).toBeNull();
    expect(await counter.countText('llama', 'x'.repeat(2_000))).toBe(expected('x'.repeat(2_000)));
  });

  test('what does not fit into the queue is null, what fits is counted', async () => {
    const text = PROSE.repeat(30);
    const bytes = Buffer.byteLength(text);
    const byJobs = open({ limits: { ...PATIENT, jobsMax: 2 } });
    const byBytes = open({ limits: { ...PATIENT, queueBytesMax: 2 * bytes } });
    for (const counter of [byJobs, byBytes]) {
      // One runs, two wait.
      const counts = await Promise.all(Array.from({ length: 5 }, () => counter.countText('llama', text)));
      expect(counts).toEqual([expected(text), expected(text), expected(text), null, null]);
    }
  });

  test('nobody waits longer than the limit', async () => {
    const counter = open({ limits: { ...PATIENT, waitMs: 0 } });
    expect(await counter.countText('llama', PROSE.repeat(2_000))).toBeNull();
  });

  test('a job that runs too long ends the thread: everybody gets null until it has rested, then it counts again', async () => {
    const warnings: string[] = [];
    const log: Log = { ...silentLog, warn: (_fields, message) => void warnings.push(message) };
    const counter = open({ log, limits: { ...PATIENT, runMs: 40, restMs: 100 } });
    const slow = 'qxzvkj'.repeat(400_000);
    const both = [counter.countText('llama', slow), counter.countText('llama', PROSE.repeat(50))];
    expect(await Promise.all(both)).toEqual([null, null]);
    expect(await counter.countText('llama', PROSE.repeat(50))).toBeNull();
    expect(warnings).toHaveLength(1);
    expect(counter.countText('llama', PROSE)).toBe(expected(PROSE));
  });

  test('a text too large for the thread’s memory ends the thread, not the process', async () => {
    const lost = Promise.withResolvers<unknown>();
    const log: Log = { ...silentLog, warn: (fields) => lost.resolve(fields['reason']) };
    const counter = open({ log, limits: { ...PATIENT, heapMb: 24 } });
    expect(await counter.countText('llama', 'qxzvkj'.repeat(600_000))).toBeNull();
    expect(await lost.promise).toBe('ERR_WORKER_OUT_OF_MEMORY');
  });
});

describe('life', () => {
  test('a deployment without a tokenizer is null', () => {
    const counter = open();
    expect(counter.has('llama')).toBe(true);
    expect(counter.has('other')).toBe(false);
    expect(counter.has('constructor')).toBe(false);
    expect(counter.countText('other', PROSE)).toBeNull();
    expect(counter.countPrompt('other', Buffer.from('{}'), 'chat')).toBeNull();
  });

  test('a tokenizer that cannot be used is an error at the start', () => {
    expect(() => open({ tokenizers: { llama: '/nowhere' } })).toThrow(TokenizerError);
  });

  test('after a reload a new deployment counts in the thread, an old one as before, a dropped one not at all', async () => {
    const counter = open({ limits: PATIENT });
    counter.reload({ other: fixturePath('wordpiece'), llama: fixturePath('byte-level-bpe') });
    const count = counter.countText('other', 'lazy dog');
    expect(count).toBeInstanceOf(Promise);
    expect(await count).toBe(2);
    expect(counter.countText('llama', PROSE)).toBe(expected(PROSE));
    counter.reload({ other: fixturePath('wordpiece') });
    expect(counter.countText('llama', PROSE)).toBeNull();
    expect(await counter.countText('other', 'lazy dog')).toBe(2);
  });

  test('a reload with a tokenizer that cannot be used is logged, and its counts are null', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'inferometer-counter-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    cpSync(fixturePath('unigram'), folder, { recursive: true });
    writeFileSync(join(folder, 'tokenizer.json'), '{}');
    const problem = Promise.withResolvers<string>();
    const log: Log = { ...silentLog, error: (_fields, message) => problem.resolve(message) };
    const counter = open({ log, limits: PATIENT });
    counter.reload({ broken: folder });
    expect(await counter.countText('broken', PROSE)).toBeNull();
    expect(await problem.promise).toContain(`tokenizer ${folder}:`);
  });

  test('closing answers whoever waits with null, and so is every later long text', async () => {
    const counter = open({ limits: PATIENT });
    const waiting = counter.countText('llama', PROSE.repeat(3_000));
    await counter.close();
    expect(await waiting).toBeNull();
    expect(await counter.countText('llama', PROSE.repeat(50))).toBeNull();
  });
});
