// Lives here: one sequence inside the simulated engine: what it was asked to do, how far it is, what it has cost.
// Not here: when it runs (engine-core.ts) and what text its tokens are.
import type { BlockHolding } from './kv-cache.ts';

/** What the engine writes down about a request; all sequences of a request share one account. */
export interface RequestAccount {
  /** Replica ms of iterations with prefill chunks, this request's shares. */
  prefillMs: number;
  /** Replica ms of its decode steps. */
  decodeMs: number;
  /** Sequence-iterations it took part in. */
  steps: number;
  /** Prompt tokens found in the prefix cache when its prompts were first scheduled. */
  cachedTokens: number;
  completionTokens: number;
  /** Epoch ms of the end of the iteration that gave the first token; null until then. */
  firstTokenAtMs: number | null;
}

/** Told by the engine, at the end of an iteration, what became of a sequence. Must not throw. */
export interface SequenceListener {
  /** Token `index` (from 0) exists since `atMs`. `cachedTokens` of the prompt came from the cache. */
  onToken(index: number, atMs: number): void;
  /** The sequence has all its tokens. Not called after `abort`. */
  onFinish(atMs: number): void;
}

/** A sequence as it is handed to the engine. */
export interface SequenceOrder {
  readonly promptTokens: number;
  /** Fingerprints of the prompt's full blocks (pseudo-text.ts). */
  readonly promptBlocks: readonly number[];
  /** Tokens to generate; 0 is prefill only (embeddings). */
  readonly outputTokens: number;
  /** Its prompt was computed and its first token made by another engine, and the KV cache comes with it: the rest is made here. */
  readonly handedOver?: boolean;
  readonly arrivedAtMs: number;
  readonly account: RequestAccount;
  readonly listener: SequenceListener;
}

/** Progress of a sequence in the engine. Written by the engine alone. */
export interface Sequence {
  readonly order: SequenceOrder;
  state: 'queued' | 'running' | 'finished' | 'aborted';
  /** Tokens to have in the KV cache before the next token can be made: the prompt, after a preemption also the output so far. */
  prefillTarget: number;
  /** Tokens of the target that are in the KV cache. */
  prefilled: number;
  generated: number;
  /** Prompt blocks already published to the prefix cache, or found there. */
  publishedBlocks: number;
  /** Prompt tokens that came from the prefix cache at the first scheduling; null before it. */
  cachedTokens: number | null;
  holding: BlockHolding | null;
}

/** A fresh account: nothing spent, nothing seen. */
export function createRequestAccount(): RequestAccount {
  return { prefillMs: 0, decodeMs: 0, steps: 0, cachedTokens: 0, completionTokens: 0, firstTokenAtMs: null };
}

/** A sequence that has not been scheduled yet. */
export function createSequence(order: SequenceOrder): Sequence {
  return {
    order,
    state: 'queued',
    prefillTarget: order.promptTokens,
    prefilled: 0,
    generated: order.handedOver === true ? 1 : 0,
    publishedBlocks: 0,
    cachedTokens: order.handedOver === true ? 0 : null,
    holding: null,
  };
}
