// How deep a YAML text nests, found before it is composed: the composer's time grows with the square of the depth, and its calls with the depth.
import { Lexer, Parser } from 'yaml';

/** No config nests deeper than about ten levels. */
export const YAML_DEPTH_MAX = 100;

/** Offset at which a text nests deeper than YAML_DEPTH_MAX collections; null where it does not. Reads no further than that. */
export function findTooDeep(text: string): number | null {
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) {
    // The stack holds the document besides, and, for an instant, a scalar.
    if (parser.stack.length > YAML_DEPTH_MAX + 2) return parser.offset;
    for (const _ of parser.next(lexeme));
  }
  return null;
}
