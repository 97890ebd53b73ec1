// Which flavour of the simulator serves what, as upstreams.md has it: the table that the suites of the SDKs go over.
import type { FlavorName } from '#simulator/start-simulator.ts';

export type Capability = 'chat' | 'completions' | 'embeddings' | 'responses' | 'messages' | 'rerank';

export const ALL_FLAVORS = [
  'trtllm',
  'triton',
  'vllm',
  'transformers',
  'kserve',
] as const satisfies readonly FlavorName[];

const SERVED: Readonly<Record<FlavorName, readonly Capability[]>> = {
  trtllm: ['chat', 'completions', 'embeddings', 'responses', 'messages'],
  triton: ['chat', 'completions', 'embeddings'],
  vllm: ['chat', 'completions', 'embeddings', 'responses', 'messages', 'rerank'],
  transformers: ['chat', 'completions', 'responses'],
  kserve: [],
};

/** Flavours that serve the route. */
export function listServing(capability: Capability): readonly FlavorName[] {
  return ALL_FLAVORS.filter((flavor) => SERVED[flavor].includes(capability));
}

/** Flavours without the route. */
export function listLacking(capability: Capability): readonly FlavorName[] {
  return ALL_FLAVORS.filter((flavor) => !SERVED[flavor].includes(capability));
}
