// The messages between the gateway and its counting thread. No behaviour.
import type { PromptShape } from './count-prompt.ts';

/** What is counted. `json` is the request's body in UTF-8, parsed where it is counted. */
export type CountJob =
  | { readonly kind: 'texts'; readonly texts: readonly string[] }
  | { readonly kind: 'prompt'; readonly json: Uint8Array; readonly shape: PromptShape };

export type CountRequest =
  | { readonly kind: 'load'; readonly path: string }
  | { readonly kind: 'unload'; readonly path: string }
  | { readonly kind: 'count'; readonly id: number; readonly path: string; readonly job: CountJob };

/** `problem` holds a path and what was expected there, never a text that was counted. */
export type CountResponse =
  | { readonly kind: 'counted'; readonly id: number; readonly tokens: number | null }
  | { readonly kind: 'unusable'; readonly path: string; readonly problem: string };
