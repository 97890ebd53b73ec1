// One finding about a config file, and the list that collects them with their lines. Wording lives with each check.

/** What is wrong (or, as a warning, worth knowing), and where. `line` counts from 1; `path` reads `deployments[0].gpu`. */
export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly path: string;
  readonly message: string;
}

/** Keys and list positions from the root of the file. */
export type ConfigPath = readonly (string | number)[];

/** `['teams', 0, 'keys']` → `teams[0].keys`; the root is the empty text. */
export function formatPath(path: ConfigPath): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += text === '' ? part : `.${part}`;
  }
  return text;
}

/** `file:line: path: message`, the form compilers use, so that editors can jump to it. */
export function formatProblem(problem: Problem): string {
  const place = `${problem.file}:${problem.line}: `;
  return problem.path === '' ? `${place}${problem.message}` : `${place}${problem.path}: ${problem.message}`;
}

/** Collects the problems and warnings of one load; knows nothing of YAML but the line of a path. */
export class ProblemList {
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];
  readonly #file: string;
  readonly #lineOf: (path: ConfigPath) => number;

  /** `lineOf` answers for any path, with its nearest ancestor's line where the path itself is not in the file. */
  constructor(file: string, lineOf: (path: ConfigPath) => number) {
    this.#file = file;
    this.#lineOf = lineOf;
  }

  /** Something that forbids using the file. */
  add(path: ConfigPath, message: string): void {
    this.problems.push(this.#at(path, message));
  }

  /** Something the file may be used with. */
  warn(path: ConfigPath, message: string): void {
    this.warnings.push(this.#at(path, message));
  }

  /** Whether anything at or below `path` has a problem: later checks then stay silent about its consequences. */
  has(path: ConfigPath): boolean {
    const prefix = formatPath(path);
    return this.problems.some(
      ({ path: found }) => found === prefix || (found.startsWith(prefix) && /^[.[]/.test(found.slice(prefix.length))),
    );
  }

  #at(path: ConfigPath, message: string): Problem {
    return { file: this.#file, line: this.#lineOf(path), path: formatPath(path), message };
  }
}
