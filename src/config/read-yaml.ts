// A YAML text → a plain tree with variables replaced, and the line of every path. What the keys mean is the schema's.
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, Scalar, visit } from 'yaml';
import type { Document, Node, YAMLError } from 'yaml';
import { interpolate } from './interpolate.ts';
import type { Environment } from './interpolate.ts';
import { ProblemList } from './problem.ts';
import type { ConfigPath } from './problem.ts';
import { ScalarText, UNRESOLVED } from './scalar.ts';
import { findTooDeep, YAML_DEPTH_MAX } from './yaml-depth.ts';

/** The tree (undefined when the text is no YAML) and the list that all later findings about this file go to. */
export interface YamlTree {
  readonly tree: unknown;
  readonly findings: ProblemList;
}

/** An alias may multiply a node at most this often: the file cannot grow without bound in memory. */
const MAX_ALIAS_COUNT = 100;

/**
 * Reads `text` as one YAML 1.2 document. Keys without a value count as absent. Syntax errors and unset variables are
 * in `findings`; a scalar with an unset variable is UNRESOLVED in the tree.
 */
export function readYaml(text: string, options: { readonly file: string; readonly env: Environment }): YamlTree {
  const tooDeepAt = findTooDeep(text);
  if (tooDeepAt !== null) {
    const line = text.slice(0, tooDeepAt).split('\n').length;
    const findings = new ProblemList(options.file, () => line);
    findings.add([], `nests deeper than ${YAML_DEPTH_MAX} levels: no key of this file does`);
    return { tree: undefined, findings };
  }
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, merge: true, prettyErrors: false });
  const lineOfOffset = (offset: number): number => Math.max(1, lineCounter.linePos(offset).line);
  const findings = new ProblemList(options.file, (path) => lineOfOffset(offsetOfPath(document, path)));
  for (const error of withoutConsequences([...document.errors, ...document.warnings])) {
    const line = lineOfOffset(error.pos[0]);
    findings.problems.push({ file: options.file, line, path: '', message: describeError(error, text, line) });
  }
  if (document.errors.length > 0) return { tree: undefined, findings };
  reportLoneKeys(document, findings);
  replaceScalars(document, options.env, findings);
  try {
    return { tree: dropEmptyKeys(document.toJS({ maxAliasCount: MAX_ALIAS_COUNT })), findings };
  } catch (err) {
    findings.add([], `not valid YAML: ${firstLine(err instanceof Error ? err.message : String(err))}`);
    return { tree: undefined, findings };
  }
}

/** After one unexpected token the parser trips over all that follow on its way; only the first says anything. */
function withoutConsequences(errors: readonly YAMLError[]): readonly YAMLError[] {
  const firstUnexpected = errors.findIndex(({ code }) => code === 'UNEXPECTED_TOKEN');
  return errors.filter(({ code }, index) => code !== 'UNEXPECTED_TOKEN' || index === firstUnexpected);
}

function describeError(error: YAMLError, text: string, line: number): string {
  if (error.code === 'MULTIPLE_DOCS') return 'not valid YAML: a second document begins here: expected one';
  const written = text.split('\n')[line - 1] ?? '';
  const hint = /[{[,].*[^"'\w]\$\{/.test(written) ? ' (inside { } and [ ] a variable needs quotes: "${NAME}")' : '';
  return `not valid YAML: ${firstLine(error.message)}${hint}`;
}

/** `{ usdPerGpuHour: 2,50 }` is 2 and a key 50 that has no value: as an empty key it would be dropped, and the price be wrong. */
function reportLoneKeys(document: Document, findings: ProblemList): void {
  visit(document, {
    Pair(_, pair, ancestors) {
      if (pair.value !== null) return;
      const path = pathOfNode(ancestors.slice(0, -1), ancestors.at(-1) as Node);
      // The key is not quoted back: it may be the second half of a secret.
      findings.add(
        path,
        'a comma cuts a value in two: write numbers with a point, and text that holds a comma in quotes',
      );
    },
  });
}

function replaceScalars(document: Document, env: Environment, findings: ProblemList): void {
  visit(document, {
    Scalar(position, node, ancestors) {
      if (position === 'key') return;
      if (typeof node.value === 'number' || typeof node.value === 'bigint') {
        node.value = new ScalarText(node.source ?? String(node.value), { confidential: false });
        return;
      }
      if (typeof node.value !== 'string' || !node.value.includes('${')) return;
      const result = interpolate(node.value, env);
      if (!result.ok) {
        const path = pathOfNode(ancestors, node);
        for (const message of result.messages) findings.add(path, message);
        node.value = UNRESOLVED;
      } else if (result.usedVariable) {
        node.value = new ScalarText(result.text, { confidential: true });
      } else {
        node.value = result.text;
      }
    },
  });
}

function pathOfNode(ancestors: readonly unknown[], node: Node): ConfigPath {
  const path: (string | number)[] = [];
  const chain = [...ancestors, node];
  for (const [index, ancestor] of chain.entries()) {
    if (isMap(ancestor)) {
      const pair = ancestor.items.find((item) => chain[index + 1] === item);
      if (pair !== undefined) path.push(keyText(pair.key));
    } else if (isSeq(ancestor)) {
      const position = ancestor.items.indexOf(chain[index + 1]);
      if (position >= 0) path.push(position);
    }
  }
  return path;
}

/** The offset of the key at `path` where it is in the text, else that of its nearest ancestor. */
function offsetOfPath(document: Document, path: ConfigPath): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((item) => keyText(item.key) === String(part));
      if (pair === undefined) return offset;
      offset = startOf(pair.key) ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      offset = startOf(node) ?? offset;
    } else {
      return offset;
    }
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  const range = (node as Partial<Node> | null | undefined)?.range;
  return range === null || range === undefined ? undefined : range[0];
}

function keyText(key: unknown): string {
  return isScalar(key) ? String((key as Scalar).value) : String(key);
}

/** `finance:` with everything below it commented out means the same as no `finance` at all. */
function dropEmptyKeys(tree: unknown): unknown {
  if (Array.isArray(tree)) return tree.map(dropEmptyKeys);
  if (typeof tree !== 'object' || tree === null || tree instanceof ScalarText) return tree;
  const entries = Object.entries(tree).filter(([, value]) => value !== null);
  return Object.fromEntries(entries.map(([key, value]) => [key, dropEmptyKeys(value)]));
}

function firstLine(message: string): string {
  return message.split('\n', 1)[0] ?? message;
}
