import { afterEach, describe, expect, it } from 'vitest';
import type { DeploymentConfig } from '#config/config.ts';
import { answerJson } from '#test/support/fake-engine.ts';
import {
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

let harness: Harness;
afterEach(() => harness.close());

const start = async (deployment: Partial<DeploymentConfig>): Promise<void> => {
  harness = await startHarness((url) =>
    createConfig([createDeploymentConfig([createUpstreamConfig(url)], deployment)]),
  );
  harness.engine.answerWith(answerJson({ object: 'response', status: 'queued', usage: null }));
};
const ask = (background: unknown) =>
  send(harness.port, { path: '/v1/responses', body: { model: 'llama-3.1-70b', input: 'Hello', background } });

describe('refuseBackground', () => {
  it('what an engine would compute after its answer is refused, sent to nobody, and recorded once', async () => {
    await start({ engine: 'vllm' });
    for (const [index, background] of [true, 'true', 1].entries()) {
      const answer = await ask(background);
      expect(answer.status).toBe(400);
      expect(JSON.parse(answer.text).error).toMatchObject({ code: 'invalid_request', param: 'background' });
      expect(harness.metering.records).toHaveLength(index + 1);
      expect(harness.metering.records.at(-1)).toMatchObject({
        outcome: 'rejected',
        status: 400,
        model: 'llama-3.1-70b',
      });
    }
    expect(harness.engine.requests).toEqual([]);
  });

  it('a request that says false or null, or whose deployment drops the field, is answered in the foreground', async () => {
    await start({ engine: 'vllm' });
    expect([(await ask(false)).status, (await ask(null)).status]).toEqual([200, 200]);
    await harness.close();
    await start({ engine: 'vllm', dropFields: ['background'] });
    expect((await ask(true)).status).toBe(200);
    expect(String(harness.engine.requests[0]?.body)).not.toContain('background');
  });

  it('trtllm-serve answers such requests in the foreground, so they pass as they are', async () => {
    await start({ engine: 'tensorrt-llm' });
    expect((await ask(true)).status).toBe(200);
    expect(JSON.parse(String(harness.engine.requests[0]?.body)).background).toBe(true);
  });

  it('other routes know no such field, and leave it to their engines', async () => {
    await start({ engine: 'vllm' });
    const body = { model: 'llama-3.1-70b', messages: [], background: true };
    expect((await send(harness.port, { body })).status).toBe(200);
  });
});
