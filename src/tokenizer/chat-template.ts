// A model's chat template: messages as a client sends them → the one text that the model reads. Counting that text is model-tokenizer.ts's.
import type { Template } from '@huggingface/jinja';
import { loadJinja } from './hugging-face.ts';

/** One named template of a model, in Jinja. */
export interface TemplateSource {
  readonly name: string;
  readonly template: string;
}

/** A conversation in the form that templates expect: contents are texts, arguments of tool calls objects. */
export interface Conversation {
  readonly messages: readonly Readonly<Record<string, unknown>>[];
  /** Function tools in OpenAI's form; null without any. */
  readonly tools: readonly unknown[] | null;
  readonly documents: readonly unknown[] | null;
  readonly addGenerationPrompt: boolean;
  /** `chat_template_kwargs` of vLLM and trtllm-serve; they override nothing that is named here. */
  readonly extras: Readonly<Record<string, unknown>>;
}

/** The templates of one model. */
export class ChatTemplate {
  readonly #templates = new Map<string, Template>();
  readonly #specialTokens: Readonly<Record<string, string>>;

  /** Throws where a template is no Jinja, or none can serve as the default. */
  constructor(sources: readonly TemplateSource[], specialTokens: Readonly<Record<string, string>>) {
    const { Template } = loadJinja();
    for (const { name, template } of sources) this.#templates.set(name, new Template(template));
    if (!this.#templates.has('default') && this.#templates.size !== 1) throw new Error('none is named default');
    this.#specialTokens = specialTokens;
  }

  /** Throws where the template refuses the conversation; the error may quote it, so keep neither. */
  render(conversation: Conversation): string {
    return this.#choose(conversation.tools).render({
      ...conversation.extras,
      ...this.#specialTokens,
      messages: conversation.messages,
      // Python's None, not "undefined": templates ask `tools is not none`.
      tools: conversation.tools,
      documents: conversation.documents,
      add_generation_prompt: conversation.addGenerationPrompt,
    });
  }

  /** The rule of transformers: `tool_use` for requests with tools where there is one, else `default`. */
  #choose(tools: readonly unknown[] | null): Template {
    const named = (tools === null ? undefined : this.#templates.get('tool_use')) ?? this.#templates.get('default');
    const [only] = this.#templates.values();
    const template = named ?? only;
    if (template === undefined) throw new Error('there is no template');
    return template;
  }
}
