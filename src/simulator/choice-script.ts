// Lives here: what one choice of an answer will say, token by token, decided before the engine starts on it.
// Not here: when the tokens come (engine-core.ts) and how they are framed (flavors/).
import type { InferenceRequest, JsonObject, ToolRequest } from './inference-request.ts';
import { isJsonObject } from './inference-request.ts';
import { pseudoToken } from './pseudo-text.ts';
import { createSeededRandom, mixSeed } from './seeded-random.ts';

/** Why a choice ended. */
export type EndReason = 'stop' | 'length' | 'tool_calls';

/** The text of one choice. Token i of the sequence shows `textAt(i)`, which may be empty. */
export interface ChoiceScript {
  /** Tokens the engine is to generate. */
  readonly tokens: number;
  readonly endReason: EndReason;
  /** The function called; its arguments are then the text. The first token carries the name and no text. */
  readonly toolName: string | null;
  textAt(index: number): string;
}

// Lengths of answers that nothing limits: log-normal, about 200 tokens, never beyond what a model would write.
const meanAnswerTokens = 200;
const answerTokensCv = 0.6;
const answerTokensMax = 8192;

/**
 * Decides what choice `choiceIndex` of prompt `promptFingerprint` says. The same request to the same seed always gets
 * the same answer. `limits.tokens` pins the length; otherwise it is drawn, and cut at the request's limit or, where
 * it sets none, at `limits.defaultMaxTokens`. Nothing goes beyond `limits.room`, what the prompt leaves of the context.
 */
export function createChoiceScript(
  request: InferenceRequest,
  choice: { promptFingerprint: number; choiceIndex: number; seed: number },
  limits: { room?: number; tokens?: number | undefined; defaultMaxTokens?: number | undefined },
): ChoiceScript {
  // The two halves of the 53-bit fingerprint; mixing truncates to 32 bits.
  const seed = mixSeed(
    choice.seed,
    request.seed,
    choice.promptFingerprint / 0x200000,
    choice.promptFingerprint % 0x200000,
    choice.choiceIndex,
  );
  const { room = Infinity } = limits;
  const limit = Math.min(request.maxTokens ?? limits.defaultMaxTokens ?? answerTokensMax, room);
  if (request.tool !== null) return scriptToolCall(request.tool, { seed, maxTokens: limit });
  if (request.schema !== null) return scriptJson(request.schema, { seed, maxTokens: limit });
  const drawn = Math.round(createSeededRandom(seed).logNormal(meanAnswerTokens, answerTokensCv));
  const wanted = request.ignoreEos ? limit : Math.min(Math.max(drawn, request.minTokens, 1), limit);
  const tokens = Math.min(limits.tokens ?? wanted, room);
  const endReason: EndReason = tokens < limit ? 'stop' : 'length';
  const plain: ChoiceScript = { tokens, endReason, toolName: null, textAt: (index) => pseudoToken(seed, index) };
  return request.stops.length === 0 ? plain : cutAtStop(plain, request.stops);
}

function cutAtStop(script: ChoiceScript, stops: readonly string[]): ChoiceScript {
  const ends: number[] = [];
  let text = '';
  for (let index = 0; index < script.tokens; index += 1) {
    text += script.textAt(index);
    ends.push(text.length);
  }
  let startAt = Infinity;
  let endAt = Infinity;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    // The match that is complete first wins, as it does in an engine that looks after every token.
    if (at >= 0 && at + stop.length < endAt) {
      startAt = at;
      endAt = at + stop.length;
    }
  }
  if (startAt === Infinity) return script;
  const tokens = ends.findIndex((end) => end >= endAt) + 1;
  return {
    ...script,
    tokens,
    endReason: 'stop',
    textAt: (index) => text.slice(ends[index - 1] ?? 0, Math.min(ends[index] ?? 0, startAt)),
  };
}

function scriptToolCall(tool: ToolRequest, options: { seed: number; maxTokens: number }): ChoiceScript {
  const argumentsText = JSON.stringify(inventObject(tool.parameters, { seed: options.seed, depth: 0 }));
  // One token opens the call; the arguments follow four characters a token.
  const wanted = 1 + Math.ceil(argumentsText.length / charactersPerToken);
  const tokens = Math.min(wanted, options.maxTokens);
  return {
    tokens,
    endReason: tokens < wanted ? 'length' : 'tool_calls',
    toolName: tool.name,
    textAt: (index) =>
      index === 0 ? '' : argumentsText.slice((index - 1) * charactersPerToken, index * charactersPerToken),
  };
}

// Of JSON.
const charactersPerToken = 4;

/** The answer is an object of the schema, and ends with it. */
function scriptJson(schema: JsonObject, options: { seed: number; maxTokens: number }): ChoiceScript {
  const text = JSON.stringify(inventValue({ type: 'object', ...schema }, { seed: options.seed, depth: 0 }));
  const wanted = Math.ceil(text.length / charactersPerToken);
  const tokens = Math.min(wanted, options.maxTokens);
  return {
    tokens,
    endReason: tokens < wanted ? 'length' : 'stop',
    toolName: null,
    textAt: (index) => text.slice(index * charactersPerToken, (index + 1) * charactersPerToken),
  };
}

/** Where in a schema a value is invented. */
interface Place {
  readonly seed: number;
  readonly depth: number;
}

// A schema is the client's: it may nest without end.
const depthMax = 16;

function inventObject(schema: JsonObject, { seed, depth }: Place): JsonObject {
  const properties = isJsonObject(schema['properties']) && depth < depthMax ? schema['properties'] : {};
  return Object.fromEntries(
    Object.entries(properties).map(([name, property], index) => {
      const place = { seed: mixSeed(seed, index), depth: depth + 1 };
      return [name, inventValue(isJsonObject(property) ? property : {}, place)];
    }),
  );
}

function inventValue(schema: JsonObject, place: Place): unknown {
  const { seed, depth } = place;
  const allowed = schema['enum'];
  if (Array.isArray(allowed) && allowed.length > 0) return allowed[seed % allowed.length];
  switch (schema['type']) {
    case 'integer':
    case 'number':
      return seed % 100;
    case 'boolean':
      return seed % 2 === 0;
    case 'array':
      return isJsonObject(schema['items']) && depth < depthMax
        ? [inventValue(schema['items'], { seed: mixSeed(seed, 0), depth: depth + 1 })]
        : [];
    case 'object':
      return inventObject(schema, place);
    default:
      return pseudoToken(seed, 0) + pseudoToken(seed, 1);
  }
}
