// `<key>File: PATH` → `<key>` with the file's text, and PEM files of `tls`. Works on the tree before the schema sees it.
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ConfigPath, ProblemList } from './problem.ts';
import { ScalarText, UNRESOLVED } from './scalar.ts';

/** Where relative paths start, where problems go, and the list that every file read is added to. */
export interface SecretFileOptions {
  readonly baseDir: string;
  readonly findings: ProblemList;
  readonly filesRead: string[];
}

/** Mappings that hold secrets: their place (`*` for any list position) and which of their keys are secret. */
const PLACES: readonly {
  readonly at: readonly string[];
  readonly keys: readonly string[] | 'all';
  readonly pem?: true;
}[] = [
  { at: ['server', 'tls'], keys: ['cert', 'key'], pem: true },
  { at: ['admin'], keys: ['token', 'metricsToken'] },
  { at: ['store'], keys: ['url'] },
  { at: ['store', 'tls'], keys: ['ca', 'cert', 'key'], pem: true },
  { at: ['deployments', '*', 'upstreams', '*'], keys: ['apiKey', 'proxy'] },
  { at: ['deployments', '*', 'upstreams', '*', 'headers'], keys: 'all' },
  { at: ['deployments', '*', 'upstreams', '*', 'tls'], keys: ['ca', 'cert', 'key'], pem: true },
  { at: ['teams', '*', 'keys', '*'], keys: ['key'] },
];

const FILE_BYTES_MAX = 1024 * 1024;

type Mapping = Record<string, unknown>;

/**
 * Replaces in place. Paths are relative to the folder of the config file; the text is trimmed. In `tls`, a value that
 * is no PEM text is the path of one. A key given both ways, and a file that is missing, empty or too large, is a problem.
 */
export function readSecretFiles(tree: unknown, options: SecretFileOptions): void {
  for (const place of PLACES) {
    for (const { mapping, path } of findMappings(tree, place.at, [])) {
      const keys = place.keys === 'all' ? headersWithFiles(mapping) : place.keys;
      for (const key of keys) replaceKey(mapping, { path, key }, options);
      if (place.pem === true) for (const key of keys) replacePemPath(mapping, { path, key }, options);
    }
  }
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ScalarText);
}

function findMappings(
  tree: unknown,
  at: readonly string[],
  path: ConfigPath,
): readonly { readonly mapping: Mapping; readonly path: ConfigPath }[] {
  const [step, ...rest] = at;
  if (step === undefined) return isMapping(tree) ? [{ mapping: tree, path }] : [];
  if (step === '*') {
    return Array.isArray(tree) ? tree.flatMap((item, index) => findMappings(item, rest, [...path, index])) : [];
  }
  return isMapping(tree) ? findMappings(tree[step], rest, [...path, step]) : [];
}

function headersWithFiles(mapping: Mapping): readonly string[] {
  return Object.keys(mapping).flatMap((key) => (/.File$/.test(key) ? [key.slice(0, -'File'.length)] : []));
}

interface Key {
  readonly path: ConfigPath;
  readonly key: string;
}

function replaceKey(mapping: Mapping, { path, key }: Key, options: SecretFileOptions): void {
  const fileKey = `${key}File`;
  const file = mapping[fileKey];
  if (file === undefined) return;
  delete mapping[fileKey];
  const filePath = textOf(file);
  if (filePath === undefined || filePath === '') {
    if (file !== UNRESOLVED && filePath === undefined) options.findings.add([...path, fileKey], 'expected a path');
    if (file === UNRESOLVED || filePath === undefined) mapping[key] = UNRESOLVED;
    return;
  }
  const inline = textOf(mapping[key]);
  if (mapping[key] !== undefined && inline !== '') {
    options.findings.add([...path, fileKey], `give either ${key} or ${fileKey}, not both`);
    return;
  }
  mapping[key] = readSecret(filePath, [...path, fileKey], options);
}

function replacePemPath(mapping: Mapping, { path, key }: Key, options: SecretFileOptions): void {
  const written = textOf(mapping[key]);
  if (written === undefined || written === '' || written.trimStart().startsWith('-----BEGIN ')) return;
  const found = readSecret(written, [...path, key], options);
  mapping[key] = found;
  if (found instanceof ScalarText && !found.text.startsWith('-----BEGIN ')) {
    options.findings.add([...path, key], 'expected PEM text, or the path of a PEM file');
    mapping[key] = UNRESOLVED;
  }
}

function textOf(value: unknown): string | undefined {
  return value instanceof ScalarText ? value.text : typeof value === 'string' ? value : undefined;
}

function readSecret(path: string, place: ConfigPath, options: SecretFileOptions): unknown {
  const absolute = resolve(options.baseDir, path);
  options.filesRead.push(absolute);
  const problem = (message: string): unknown => {
    options.findings.add(place, message);
    return UNRESOLVED;
  };
  try {
    if (statSync(absolute).size > FILE_BYTES_MAX) return problem(`${absolute} is larger than ${FILE_BYTES_MAX} bytes`);
    const text = readFileSync(absolute, 'utf8').trim();
    return text === '' ? problem(`${absolute} is empty`) : new ScalarText(text, { confidential: true });
  } catch (err) {
    return problem(`cannot read ${absolute}: ${(err as NodeJS.ErrnoException).code ?? 'unknown error'}`);
  }
}
