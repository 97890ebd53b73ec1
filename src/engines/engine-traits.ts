// From the engine names of the config to what is known of each engine.
import type { EngineTraits } from '#domain/engine.ts';
import { dynamo } from './dynamo.ts';
import { nim } from './nim.ts';
import { openai } from './openai.ts';
import { tensorrtLlm } from './tensorrt-llm.ts';
import { tgi } from './tgi.ts';
import { transformers } from './transformers.ts';
import { tritonOpenai } from './triton-openai.ts';
import { triton } from './triton.ts';
import { vllm } from './vllm.ts';

/** Traits by the config's engine name; compose.ts hands it where every name is required, so a missing one is a type error. */
export const ENGINE_TRAITS = {
  'tensorrt-llm': tensorrtLlm,
  'triton-openai': tritonOpenai,
  triton,
  nim,
  dynamo,
  vllm,
  tgi,
  transformers,
  openai,
} as const satisfies Readonly<Record<string, EngineTraits>>;
