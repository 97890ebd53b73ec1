// Lives here: how Triton's own KServe protocol frames `generate`, `generate_stream` and `infer` for the TensorRT-LLM ensemble: text and
// counts as tensors, no terminator, errors as `{"error"}`. Facts: reference/upstreams.md §3.2. Not here: its other routes (kserve-routes.ts).
import { formatEvent } from './flavor.ts';
import type { AnswerFrame, Flavor, HttpProblem, LengthToCheck, TokenUsage } from './flavor.ts';
import { isJsonObject } from '../inference-request.ts';
import type { InferenceRoute, JsonObject } from '../inference-request.ts';

/** The three routes that generate. */
export type KserveAction = 'generate' | 'generate_stream' | 'infer';

/** Inputs of the model; the last two are the simulator's own, for traffic of exact lengths. */
const INPUTS = (
  'text_input max_tokens temperature top_k top_p stop_words bad_words stream beam_width random_seed ' +
  'exclude_input_in_output ignore_eos min_tokens'
).split(' ');
const COUNT_INPUTS = ['return_num_input_tokens', 'return_num_output_tokens'];

const COUNT_OUTPUTS = ['num_input_tokens', 'num_output_tokens'];
const DATATYPES: Readonly<Record<string, string>> = {
  text_input: 'BYTES',
  stop_words: 'BYTES',
  bad_words: 'BYTES',
  temperature: 'FP32',
  top_p: 'FP32',
  stream: 'BOOL',
  exclude_input_in_output: 'BOOL',
  ignore_eos: 'BOOL',
  return_num_input_tokens: 'BOOL',
  return_num_output_tokens: 'BOOL',
  random_seed: 'UINT64',
};

/** What the server says of itself. */
export const SERVER_VERSION = '2.73.0';
export const SERVER_EXTENSIONS: readonly string[] = ['generate', 'statistics'];

function listInputs(countsTokens: boolean): readonly string[] {
  return countsTokens ? [...INPUTS, ...COUNT_INPUTS] : INPUTS;
}

/** A tensor's name and datatype. */
export type TensorDescription = readonly [name: string, datatype: string];

/** Tensors of the model; one without counts, such as the LLM-API model, does not know how to be asked for them. */
export function describeTensors(countsTokens: boolean): {
  readonly inputs: readonly TensorDescription[];
  readonly outputs: readonly TensorDescription[];
} {
  return {
    inputs: listInputs(countsTokens).map((name) => [name, DATATYPES[name] ?? 'INT32']),
    outputs: [
      ['text_output', 'BYTES'],
      ...(countsTokens ? COUNT_OUTPUTS : []).map((name): TensorDescription => [name, 'INT32']),
    ],
  };
}

/** The request as the simulator's completions take it; what the client sent stays under `inputs`. */
function translate(body: JsonObject, action: KserveAction): JsonObject {
  const inputs = action === 'infer' ? readTensors(body) : readFields(body);
  return {
    inputs,
    prompt: inputs['text_input'],
    max_tokens: inputs['max_tokens'],
    min_tokens: inputs['min_tokens'],
    ignore_eos: inputs['ignore_eos'],
    seed: inputs['random_seed'],
    stream: action === 'generate_stream',
    // The model's own setting, where a request says nothing, is to leave the prompt out, as NVIDIA's examples configure it.
    echo_prompt: inputs['exclude_input_in_output'] === false,
  };
}

function readFields(body: JsonObject): JsonObject {
  const { id: _id, parameters, ...fields } = body;
  return { ...fields, ...(isJsonObject(parameters) ? parameters : {}) };
}

/** The first element of each tensor. */
function readTensors(body: JsonObject): JsonObject {
  const { inputs } = body;
  const entries = (Array.isArray(inputs) ? inputs : []).flatMap((tensor: unknown) => {
    if (!isJsonObject(tensor)) return [];
    const data: unknown = Array.isArray(tensor['data']) ? tensor['data'].flat(8)[0] : undefined;
    return [[String(tensor['name']), data] as const];
  });
  return Object.fromEntries(entries);
}

function refuse(message: string): HttpProblem {
  return { status: 400, body: { error: message } };
}

function check(body: JsonObject, model: string, known: readonly string[]): HttpProblem | undefined {
  const inputs = isJsonObject(body['inputs']) ? body['inputs'] : {};
  const unknown = Object.keys(inputs).find((name) => !known.includes(name));
  if (unknown !== undefined) return refuse(`unexpected inference input '${unknown}' for model '${model}'`);
  const missing = ['text_input', 'max_tokens'].find((name) => inputs[name] === undefined);
  if (missing !== undefined) return refuse(`expected inference input '${missing}' for model '${model}'`);
  return undefined;
}

/** The backend's word on a prompt that leaves no room for an answer: a failure of the server, not of the request. */
export function refuseLength({ promptTokens, contextTokens }: LengthToCheck) {
  if (promptTokens < contextTokens) return undefined;
  const message = `Prompt length (${promptTokens}) exceeds maximum input length (${contextTokens - 1}).`;
  return { status: 500, message: `Encountered an error when fetching new request: ${message}` };
}

/** Whether the request asks for counts; either switch brings both. */
function asksCounts(body: JsonObject): boolean {
  const inputs = isJsonObject(body['inputs']) ? body['inputs'] : {};
  return COUNT_INPUTS.some((name) => inputs[name] === true);
}

function describeReply(frame: AnswerFrame, text: string, counts: JsonObject): JsonObject {
  return {
    batch_index: 0,
    model_name: frame.model,
    model_version: '1',
    ...counts,
    sequence_end: false,
    sequence_index: 0,
    text_output: text,
  };
}

/** Counts of one reply: its own output tokens, and the prompt's. */
function describeCounts(usage: TokenUsage | null, outputTokens: number): JsonObject {
  return usage === null ? {} : { num_input_tokens: usage.promptTokens, num_output_tokens: outputTokens };
}

function describeInferAnswer(frame: AnswerFrame, text: string, counts: JsonObject): JsonObject {
  const tensors = Object.entries(counts).map(([name, value]) => ({
    name,
    datatype: 'INT32',
    shape: [1, 1],
    data: [value],
  }));
  return {
    model_name: frame.model,
    model_version: '1',
    outputs: [{ name: 'text_output', datatype: 'BYTES', shape: [1], data: [text] }, ...tensors],
  };
}

/** Triton's KServe server for one of its routes; `countsTokens` false is a model without count outputs. */
export function createKserveFlavor(action: KserveAction, countsTokens: boolean): Flavor {
  const known = listInputs(countsTokens);
  return {
    name: 'kserve',
    routes: new Set<InferenceRoute>(),
    rolesBeforePrefill: false,
    disconnectLagMsMax: 0,
    defaultMaxTokens: undefined,
    terminator: '',
    usagePerPrompt: false,
    usageInLastToken: false,
    headers: () => ({}),
    translate: (body) => translate(body, action),
    check: ({ body, servedModel }) => check(body, servedModel, known),
    refuseLength,
    problem: (status, message) => ({ status: status === 422 ? 400 : status, body: { error: message } }),
    streamUsage: (body) => ({ atEnd: false, continuous: asksCounts(body) }),
    wholeUsage: asksCounts,
    answerId: ({ uuid }) => uuid,
    modelName: (_requested, served) => served,
    roleEvents: () => '',
    tokenEvent: (frame, piece) =>
      formatEvent(JSON.stringify(describeReply(frame, piece.text, describeCounts(piece.runningUsage, 1)))),
    usageEvent: () => '',
    errorEvent: (message) => formatEvent(JSON.stringify({ error: message })),
    wholeAnswer(frame, choices, usage) {
      const text = choices.map((choice) => `${choice.echoed?.text ?? ''}${choice.text}`).join('');
      // The backend counts what its answer holds, the prompt too.
      const echoed = choices.reduce((sum, choice) => sum + (choice.echoed?.tokens ?? 0), 0);
      const counts = describeCounts(usage, (usage?.completionTokens ?? 0) + echoed);
      return action === 'infer' ? describeInferAnswer(frame, text, counts) : describeReply(frame, text, counts);
    },
    modelCard: (served) => ({ name: served }),
  };
}
