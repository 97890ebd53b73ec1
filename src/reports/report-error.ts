// What a report refuses to do, in words for the person who asked.

/**
 * A parameter that cannot be used, or a period that cannot be answered. The CLI exits 2 with the message, the admin plane answers 400.
 * `parameter` is its name in the HTTP API (`groupBy`); the CLI writes it as a flag (`--group-by`).
 */
export class ReportParameterError extends Error {
  override name = 'ReportParameterError';
  readonly parameter: string;
  /** What was expected, as the end of a sentence. */
  readonly expectation: string;

  constructor(parameter: string, expectation: string) {
    super(`${parameter}: ${expectation}`);
    this.parameter = parameter;
    this.expectation = expectation;
  }
}
