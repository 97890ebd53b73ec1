// Lives here: which flavour serves which protocols besides OpenAI's chat, and in which dialect; a flavour without one has no such route.
// Facts: reference/upstreams.md §1.1, §1.6, §1.7, §5.1, §5.3 and the sources named in messages.ts and responses.ts.
import type { Flavor, FlavorName } from './flavor.ts';
import { speakMessages } from './messages.ts';
import type { MessagesDialect } from './messages.ts';
import { speakResponses } from './responses.ts';
import type { ResponsesDialect } from './responses.ts';

/** A protocol that is other words for chat. */
export type ChatProtocol = 'messages' | 'responses';

interface Dialects {
  readonly messages?: MessagesDialect;
  readonly responses?: ResponsesDialect;
}

const vllmErrorTypes: Readonly<Record<number, string>> = { 400: 'BadRequestError', 404: 'NotFoundError' };
const NOTHING: ReadonlySet<string> = new Set();

const dialects: Readonly<Record<FlavorName, Dialects>> = {
  trtllm: {
    messages: {
      partsAtStart: true,
      saysCreation: false,
      endsWithDone: false,
      forcesTools: false,
      checksModel: false,
      errorType: (status) => (status < 500 ? 'invalid_request_error' : 'api_error'),
      answerId: (_chatId, uuid) => `msg_${uuid}`,
    },
    responses: {
      namesEvents: true,
      saysIncomplete: true,
      streamsByDefault: false,
      takesTools: true,
      saysCached: true,
      checksModel: false,
      refusedFields: NOTHING,
    },
  },
  vllm: {
    messages: {
      // What is cached is known with the last chunk alone (vllm-project/vllm#40912); before it, and without the flag, all is input.
      partsAtStart: false,
      saysCreation: true,
      endsWithDone: true,
      forcesTools: true,
      checksModel: true,
      errorType: (status) => vllmErrorTypes[status] ?? 'internal_error',
      answerId: (chatId) => chatId,
    },
    responses: {
      namesEvents: true,
      saysIncomplete: false,
      streamsByDefault: false,
      takesTools: true,
      saysCached: true,
      checksModel: true,
      refusedFields: NOTHING,
    },
  },
  transformers: {
    responses: {
      namesEvents: false,
      saysIncomplete: false,
      streamsByDefault: true,
      takesTools: false,
      saysCached: false,
      checksModel: false,
      refusedFields: new Set(
        (
          'background include max_tool_calls previous_response_id prompt reasoning service_tier store text tool_choice ' +
          'top_logprobs truncation user'
        ).split(' '),
      ),
    },
  },
  triton: {},
  kserve: {},
};

/** The flavour in the words of `protocol`; undefined where the engine does not serve it. */
export function findProtocolFlavor(chat: Flavor, protocol: ChatProtocol): Flavor | undefined {
  const { messages, responses } = dialects[chat.name];
  if (protocol === 'messages') return messages === undefined ? undefined : speakMessages(chat, messages);
  return responses === undefined ? undefined : speakResponses(chat, responses);
}
