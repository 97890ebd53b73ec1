// One model's tokenizer with its chat template, counting in memory. Which text of a request is counted is count-prompt.ts's.
import type { ChatTemplate, Conversation } from './chat-template.ts';

/** As much of the library's Tokenizer as is used; its own declarations do not resolve under Node's module rules. */
export interface TokenEncoder {
  encode(
    text: string,
    options: { readonly add_special_tokens: boolean; readonly text_pair?: string },
  ): { readonly ids: readonly number[] };
  /** BPE models have a cache. */
  readonly model: { clear_cache?(): void } | null;
}

/** Counts tokens of one model. Nothing of a counted text is kept. */
export class ModelTokenizer {
  readonly #encoder: TokenEncoder;
  readonly #template: ChatTemplate | null;

  constructor(encoder: TokenEncoder, template: ChatTemplate | null) {
    this.#encoder = encoder;
    this.#template = template;
  }

  /**
   * Tokens of one text. `addSpecialTokens` says whether the tokenizer adds its own (begin of text, [CLS]); `pair` is the second text of a
   * cross-encoder.
   */
  count(text: string, options: { readonly addSpecialTokens: boolean; readonly pair?: string }): number {
    if (text === '' && options.pair === undefined && !options.addSpecialTokens) return 0;
    try {
      const { ids } = this.#encoder.encode(text, {
        add_special_tokens: options.addSpecialTokens,
        ...(options.pair === undefined ? {} : { text_pair: options.pair }),
      });
      return ids.length;
    } finally {
      this.#forget();
    }
  }

  /** The text a model reads for a conversation; null for a model without a chat template. Throws where the template refuses it. */
  renderChat(conversation: Conversation): string | null {
    return this.#template === null ? null : this.#template.render(conversation);
  }

  /** BPE remembers pieces of text to save work; prompts must not outlive their counting. */
  #forget(): void {
    this.#encoder.model?.clear_cache?.();
  }
}
