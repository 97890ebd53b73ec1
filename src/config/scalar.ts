// A scalar of the config file that must not lose its text: numbers as written, and everything that was interpolated.
// How a field reads one stands in schema-leaf.ts, how a file becomes a tree of them in read-yaml.ts.

/**
 * The text and, beside it, the value YAML's core schema gives that text. Fields choose: money and keys take the text
 * (exact, and a key of digits stays a key), ports and sizes take the value.
 */
export class ScalarText {
  readonly text: string;
  readonly value: unknown;
  /** From a variable or a secret file: must never appear in a message. */
  readonly confidential: boolean;

  constructor(text: string, options: { readonly confidential: boolean }) {
    this.text = text;
    this.value = parseYamlScalar(text);
    this.confidential = options.confidential;
  }
}

/** Stands where a variable was not set or a secret file not readable; that problem is reported already. */
export const UNRESOLVED: unique symbol = Symbol('unresolved');

const INTEGER = /^[-+]?\d+$/;
const OCTAL = /^0o[0-7]+$/;
const HEXADECIMAL = /^0x[\dA-Fa-f]+$/;
const FLOAT = /^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/;

/** The value of a plain scalar by the YAML 1.2 core schema (section 10.3.2 of the specification). */
export function parseYamlScalar(text: string): unknown {
  if (/^(?:~|null|Null|NULL|)$/.test(text)) return null;
  if (/^(?:true|True|TRUE)$/.test(text)) return true;
  if (/^(?:false|False|FALSE)$/.test(text)) return false;
  if (INTEGER.test(text) || OCTAL.test(text) || HEXADECIMAL.test(text) || FLOAT.test(text)) return Number(text);
  if (/^[-+]?\.(?:inf|Inf|INF)$/.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  if (/^\.(?:nan|NaN|NAN)$/.test(text)) return Number.NaN;
  return text;
}

/** The plain JSON value of a tree in which scalars may be wrapped; for parts of the file that have no schema. */
export function unwrapScalars(tree: unknown): unknown {
  if (tree instanceof ScalarText) return tree.value;
  if (Array.isArray(tree)) return tree.map(unwrapScalars);
  if (typeof tree !== 'object' || tree === null) return tree;
  return Object.fromEntries(Object.entries(tree).map(([key, value]) => [key, unwrapScalars(value)]));
}
