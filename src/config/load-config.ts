// Reads one config file into a frozen Config, or says everything that is wrong with it. The steps: read-yaml.ts
// (syntax, variables), secret-files.ts, tokenizer-paths.ts, schema.ts, resolve-config.ts (dry run).
import { isUtf8 } from 'node:buffer';
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Config } from './config.ts';
import { useEnvironmentProxies } from './environment-proxy.ts';
import type { Environment } from './interpolate.ts';
import type { Problem } from './problem.ts';
import { readYaml } from './read-yaml.ts';
import { resolveConfig } from './resolve-config.ts';
import { readSections } from './schema.ts';
import { readSecretFiles } from './secret-files.ts';
import { resolveTokenizerPaths } from './tokenizer-paths.ts';

/**
 * Where the config comes from. `env` is what `${VAR}` reads. `nowMs` (epoch milliseconds) decides which price is in
 * force; without it the machine's time does.
 */
export interface LoadOptions {
  readonly path: string;
  readonly env: Environment;
  readonly nowMs?: number;
}

/** `files`: absolute paths of everything that was read, the config file first; a change of any changes the config. */
export type LoadResult =
  | {
      readonly ok: true;
      readonly config: Config;
      readonly warnings: readonly Problem[];
      readonly files: readonly string[];
    }
  | { readonly ok: false; readonly problems: readonly Problem[]; readonly files: readonly string[] };

const FILE_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Loads `options.path` (relative to the working folder). Never throws: a file that is missing or not readable is a
 * problem too. Problems come in the order of the file and hold no secret.
 */
export function loadConfig(options: LoadOptions): LoadResult {
  const file = options.path;
  const files = [resolve(file)];
  const text = readText(file);
  if ('message' in text) return { ok: false, problems: [{ file, line: 1, path: '', message: text.message }], files };
  const { tree, findings } = readYaml(text.content, { file, env: options.env });
  if (tree === undefined) return { ok: false, problems: findings.problems, files };
  const baseDir = dirname(resolve(file));
  readSecretFiles(tree, { baseDir, findings, filesRead: files });
  resolveTokenizerPaths(tree, { baseDir, findings });
  const resolved = resolveConfig(readSections(tree, findings), findings, options.nowMs ?? readWallClock());
  const config = resolved === undefined ? undefined : useEnvironmentProxies(resolved, options.env, findings);
  if (config === undefined) return { ok: false, problems: inFileOrder(findings.problems), files };
  return { ok: true, config, warnings: inFileOrder(findings.warnings), files };
}

function readText(path: string): { readonly content: string } | { readonly message: string } {
  try {
    if (statSync(path).size > FILE_BYTES_MAX) return { message: `is larger than ${FILE_BYTES_MAX} bytes` };
    const content = readFileSync(path);
    return isUtf8(content) ? { content: content.toString('utf8') } : { message: 'is not UTF-8 text' };
  } catch (err) {
    const code = (err as NodeJS.ErrnoException).code;
    if (code === 'ENOENT')
      return { message: 'there is no such file: name one with --config, or write one with inferometer init' };
    return { message: `cannot read it: ${code ?? 'unknown error'}` };
  }
}

/** Loading happens before there is a store whose Clock could be asked; prices are effective-dated by the day. */
function readWallClock(): number {
  return new Date().getTime();
}

function inFileOrder(problems: readonly Problem[]): readonly Problem[] {
  return problems.toSorted((left, right) => left.line - right.line);
}
