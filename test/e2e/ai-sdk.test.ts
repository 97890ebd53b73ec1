// The Vercel AI SDK through the gateway, on every engine flavour.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embedMany, generateText, jsonSchema, streamText, tool } from 'ai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStack, startTestStack } from '#test/support/gateway.ts';
import { SdkBooks } from '#test/support/sdk-books.ts';
import { ALL_FLAVORS, listLacking, listServing } from '#test/support/sdk-flavors.ts';

const CHAT = '/v1/chat/completions';

let stack: TestStack;
let books: SdkBooks;
/** Ids of the answers in the order in which they began, as the SDK's own fetch saw them. */
const answered: (string | null)[] = [];
let provider: ReturnType<typeof createOpenAICompatible>;

const lookup = tool({
  description: 'Looks something up.',
  inputSchema: jsonSchema<{ query: string }>({ type: 'object', properties: { query: { type: 'string' } } }),
  execute: ({ query }) => `nothing of ${query}`,
});

function lastId(): string | null {
  return answered.at(-1) ?? null;
}

beforeAll(async () => {
  stack = await startTestStack({ engines: ALL_FLAVORS.map((flavor) => ({ flavor, name: flavor, models: [flavor] })) });
  books = new SdkBooks(stack);
  provider = createOpenAICompatible({
    name: 'inferometer',
    baseURL: `${stack.gatewayUrl}/v1`,
    apiKey: stack.keys['search'] as string,
    fetch: async (...request) => {
      const answer = await fetch(...request);
      answered.push(answer.headers.get('x-inferometer-request-id'));
      return answer;
    },
  });
});
afterAll(() => stack?.close());

describe.each(listServing('chat'))('ai SDK through the gateway on %s', (name) => {
  it('generates text with its usage', async () => {
    const { text, usage } = await generateText({
      model: provider(name),
      prompt: 'Say something.',
      maxOutputTokens: 10,
      maxRetries: 0,
    });
    expect(text).not.toBe('');
    expect(usage.outputTokens).toBe(10);
    const row = await books.expectReported(lastId(), CHAT);
    expect(row.tokens.total).toBe(usage.totalTokens);
  });

  it('streams text', async () => {
    const { textStream } = streamText({
      model: provider(name),
      prompt: 'Say something long.',
      maxOutputTokens: 20,
      maxRetries: 0,
    });
    let text = '';
    for await (const part of textStream) text += part;
    expect(text.length).toBeGreaterThan(10);
    const row = await books.expectReported(lastId(), CHAT);
    expect(row).toMatchObject({ stream: true, tokens: { output: 20 } });
  });

  it('calls a tool', async () => {
    const calling = generateText({
      model: provider(name),
      prompt: 'Please call the tool.',
      tools: { lookup },
      maxRetries: 0,
    });
    // The SDK sends `tool_choice` with its tools, which transformers serve does not know.
    if (name === 'transformers') {
      const error = await calling.then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(APICallError.isInstance(error) && error.statusCode).toBe(422);
      await books.expectRefused(lastId(), 422);
      return;
    }
    const { toolCalls, finishReason } = await calling;
    expect(finishReason).toBe('tool-calls');
    expect(toolCalls).toMatchObject([{ toolName: 'lookup', input: { query: expect.any(String) } }]);
    await books.expectReported(lastId(), CHAT);
  });

  it('aborts a stream', async () => {
    const abort = new AbortController();
    const { textStream } = streamText({
      model: provider(name),
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
    const row = await books.recordOf(lastId());
    expect(row).toMatchObject({ outcome: 'client_aborted', tokenSource: 'counted' });
    expect((await books.truthOf(row.requestId))?.aborted).toBe(true);
  });
});

describe.each(listServing('embeddings'))('ai SDK, embeddings through the gateway on %s', (name) => {
  it('embeds', async () => {
    const { embeddings, usage } = await embedMany({
      model: provider.textEmbeddingModel(name),
      values: ['a', 'b', 'c'],
      maxRetries: 0,
    });
    expect(embeddings).toHaveLength(3);
    const row = await books.expectReported(lastId(), '/v1/embeddings');
    expect(row.tokens.input).toBe(usage.tokens);
  });
});

describe('ai SDK through the gateway', () => {
  it.each(listLacking('chat'))('%s has no chat: the SDK gets its 404', async (name) => {
    const calling = generateText({ model: provider(name), prompt: 'x', maxRetries: 0 });
    const error = await calling.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(APICallError.isInstance(error) && error.statusCode).toBe(404);
    await books.expectRefused(lastId(), 404);
  });

  it.each(listLacking('embeddings'))('%s has no embeddings: the SDK gets its 404', async (name) => {
    const embedding = embedMany({ model: provider.textEmbeddingModel(name), values: ['x'], maxRetries: 0 });
    const error = await embedding.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(APICallError.isInstance(error) && error.statusCode).toBe(404);
    await books.expectRefused(lastId(), 404);
  });

  it('in the end every request has its cost and the books close', async () => {
    await books.expectSettled();
  }, 90_000);
});
