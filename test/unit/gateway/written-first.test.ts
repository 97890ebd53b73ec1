// What leaves the gateway leaves behind its journal line: requests behind their dispatch, the last byte of an answer behind its record.
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AttemptEnd, AttemptStart, Metering } from '#domain/metering.ts';
import { answerStream, chatEvents, createGate, type Script } from '#test/support/fake-engine.ts';
import { chatBody, type Harness, SEARCH_KEY, startHarness } from './harness.ts';

/** A journal that is written when it is told to be, and whose records are durable when the test says so. */
class LateMetering implements Metering {
  readonly dispatched = new Set<string>();
  readonly recorded = new Set<string>();
  durable: Promise<void> | undefined;
  #waiting: (() => void)[] = [];

  begin({ identity: { requestId }, leavesByTurn }: AttemptStart) {
    const write = (line: () => void): void => void (leavesByTurn === true ? this.#waiting.push(line) : line());
    write(() => this.dispatched.add(requestId));
    return {
      profileSource: 'declared',
      upstreamBytes: () => {},
      content: () => {},
      finish: (_end: AttemptEnd) => {
        write(() => this.recorded.add(requestId));
        if (this.durable !== undefined) this.commit();
        return this.durable;
      },
    };
  }

  commit(): void {
    for (const line of this.#waiting.splice(0)) line();
  }

  recordUnsent(): void {}
}

const BYTES = Buffer.alloc(300_000, 'x');
const EVENTS = chatEvents(['Hel', 'lo'], { usage: false });
const EVENTS_BYTES = Buffer.byteLength(EVENTS.join(''));

interface Way {
  readonly name: string;
  readonly path: string;
  readonly script: Script;
  readonly stream?: boolean;
  /** Bytes of the body that the client gets. */
  readonly length: number;
}

const WAYS: readonly Way[] = [
  { name: 'a small answer', path: '/v1/chat/completions', script: (res) => void res.end('{}'), length: 2 },
  {
    name: 'a large answer of a length that is told',
    path: '/v1/chat/completions',
    script: (res) => void res.writeHead(200, { 'content-length': BYTES.length }).end(BYTES),
    length: BYTES.length,
  },
  {
    name: 'a stream',
    path: '/v1/chat/completions',
    script: answerStream(EVENTS),
    stream: true,
    length: EVENTS_BYTES,
  },
  {
    name: 'a small forwarded answer',
    path: '/v1/audio/speech',
    script: (res) => void res.writeHead(200, { 'content-length': 5 }).end('sound'),
    length: 5,
  },
  {
    name: 'a large forwarded answer',
    path: '/v1/audio/speech',
    script: (res) => void res.writeHead(200, { 'content-length': BYTES.length }).end(BYTES),
    length: BYTES.length,
  },
];

describe.each(WAYS)('$name', ({ path, script, stream = false, length }) => {
  let metering: LateMetering;
  let harness: Harness;
  beforeEach(async () => {
    metering = new LateMetering();
    harness = await startHarness(undefined, { metering });
  });
  afterEach(() => harness.close());

  /** Reads an answer; `onBytes` is told how many bytes of its body have come. */
  function ask(onBytes: (bytes: number, requestId: string) => void): Promise<void> {
    const isForwarded = path.startsWith('/v1/audio');
    return new Promise((resolve, reject) => {
      const headers = {
        authorization: `Bearer ${SEARCH_KEY}`,
        'content-type': isForwarded ? 'application/octet-stream' : 'application/json',
      };
      const req = request({ port: harness.port, path, method: 'POST', agent: false, headers }, (res) => {
        let bytes = 0;
        res.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          onBytes(bytes, String(res.headers['x-inferometer-request-id']));
        });
        res.on('end', resolve).on('error', reject);
      });
      req.on('error', reject);
      req.end(isForwarded ? 'words' : JSON.stringify(chatBody({ stream })));
    });
  }

  it('is asked for behind its dispatch and ends behind its record, many at a time', async () => {
    const early: string[] = [];
    harness.engine.answerWith((res, seen) => {
      const id = String(seen.headers['x-request-id']);
      if (!metering.dispatched.has(id)) early.push(`dispatch of ${id}`);
      return script(res, seen);
    });
    let ended = 0;
    const askOnce = (): Promise<void> =>
      ask((bytes, id) => {
        if (bytes < length) return;
        ended += 1;
        if (!metering.recorded.has(id)) early.push(`record of ${id}`);
      });
    for (let round = 0; round < 3; round += 1) await Promise.all(Array.from({ length: 40 }, askOnce));
    expect([early, ended]).toEqual([[], 120]);
  });

  it('keeps its last byte until its record is durable', async () => {
    const gate = createGate();
    metering.durable = gate.opened;
    harness.engine.answerWith(script);
    let got = 0;
    const asked = ask((bytes) => (got = bytes));
    while (metering.recorded.size === 0) await delay(1);
    await delay(50);
    expect(got).toBeLessThan(length);
    gate.open();
    await asked;
    expect(got).toBe(length);
  });
});
