// `deployments[].tokenizer`: a path relative to the config file → an absolute one that exists. Works on the tree before the schema sees it;
// what stands in the files is the tokenizer's own matter.
import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ConfigPath, ProblemList } from './problem.ts';
import { ScalarText } from './scalar.ts';

/**
 * Replaces in place. A problem where nothing is there, or a folder holds neither `tokenizer.json` nor the `snapshots` of a Hugging Face
 * cache entry. Empty and missing mean none.
 */
export function resolveTokenizerPaths(
  tree: unknown,
  options: { readonly baseDir: string; readonly findings: ProblemList },
): void {
  const deployments = readMember(tree, 'deployments');
  if (!Array.isArray(deployments)) return;
  for (const [index, deployment] of deployments.entries()) {
    const written = readMember(deployment, 'tokenizer');
    const text = written instanceof ScalarText ? written.text : written;
    if (typeof text !== 'string' || text === '') continue;
    const path = resolve(options.baseDir, text);
    const place: ConfigPath = ['deployments', index, 'tokenizer'];
    const problem = findProblem(path);
    if (problem !== null) options.findings.add(place, problem);
    (deployment as Record<string, unknown>)['tokenizer'] = new ScalarText(path, {
      confidential: written instanceof ScalarText && written.confidential,
    });
  }
}

function readMember(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function findProblem(path: string): string | null {
  if (!existsSync(path))
    return `there is no ${path}: expected a tokenizer.json, its folder, or a Hugging Face cache entry`;
  if (!statSync(path).isDirectory()) return path.endsWith('.json') ? null : `${path} is no tokenizer.json`;
  if (existsSync(join(path, 'tokenizer.json')) || existsSync(join(path, 'snapshots'))) return null;
  return `${path} holds neither tokenizer.json nor the snapshots of a Hugging Face cache entry`;
}
