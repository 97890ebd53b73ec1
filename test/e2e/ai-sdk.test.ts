// The Vercel AI SDK through the gateway.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateText, streamText } from 'ai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStack, startTestStack } from '#test/support/gateway.ts';

let stack: TestStack;
let provider: ReturnType<typeof createOpenAICompatible>;

beforeAll(async () => {
  stack = await startTestStack({
    engines: [
      { flavor: 'trtllm', models: ['llama'] },
      { flavor: 'vllm', models: ['embedder'] },
    ],
  });
  provider = createOpenAICompatible({
    name: 'inferometer',
    baseURL: `${stack.gatewayUrl}/v1`,
    apiKey: stack.keys['search'] as string,
  });
});
afterAll(() => stack?.close());

describe('ai SDK through the gateway', () => {
  it('generates text with its usage', async () => {
    const { text, usage } = await generateText({
      model: provider('llama'),
      prompt: 'Say something.',
      maxOutputTokens: 10,
      maxRetries: 0,
    });
    expect(text).not.toBe('');
    expect(usage.outputTokens).toBe(10);
  });

  it('streams text', async () => {
    const { textStream } = streamText({
      model: provider('llama'),
      prompt: 'Say something long.',
      maxOutputTokens: 20,
      maxRetries: 0,
    });
    let text = '';
    for await (const part of textStream) text += part;
    expect(text.length).toBeGreaterThan(10);
  });

  it('aborts a stream', async () => {
    const abort = new AbortController();
    const { textStream } = streamText({
      model: provider('llama'),
      prompt: 'Go on for ever.',
      maxOutputTokens: 4000,
      maxRetries: 0,
      abortSignal: abort.signal,
    });
    let parts = 0;
    for await (const part of textStream) {
      if (part !== '') parts += 1;
      if (parts === 3) abort.abort();
    }
    expect(parts).toBeLessThan(4000);
  });

  it('embeds', async () => {
    const { embeddings } = await embedMany({
      model: provider.textEmbeddingModel('embedder'),
      values: ['a', 'b', 'c'],
      maxRetries: 0,
    });
    expect(embeddings).toHaveLength(3);
  });
});
