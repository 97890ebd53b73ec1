// The lines of our own NDJSON files. `node:readline` is of no use here: it also ends a line at U+2028 and U+2029, which JSON leaves as they
// are in the users, tags and names that callers choose.
import type { Readable } from 'node:stream';

/** Lines without their LF, as many at a time as a chunk of the file ends; a last line without LF counts. */
export async function* readLines(input: Readable): AsyncGenerator<readonly string[]> {
  let rest = '';
  for await (const chunk of input.setEncoding('utf8')) {
    const lines = `${rest}${String(chunk)}`.split('\n');
    rest = lines.pop() ?? '';
    yield lines;
  }
  if (rest !== '') yield [rest];
}
