// The one error of loading a tokenizer. Counting has none: what cannot be counted is null.

/** A tokenizer that cannot be used. The message names the path and what was expected there; it holds no text of any request. */
export class TokenizerError extends Error {
  override name = 'TokenizerError';
  /** The path as it was configured. */
  readonly path: string;

  constructor(path: string, problem: string, options?: { readonly cause: unknown }) {
    super(`tokenizer ${path}: ${problem}`, options);
    this.path = path;
  }
}
