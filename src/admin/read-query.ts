// Query parameters of the admin plane: each at most once, and only those a route knows.
import { ReportParameterError } from '#reports/report-error.ts';
import type { Request } from 'express';

/**
 * The parameters as text, absent ones left out. Throws a ReportParameterError for one that is unknown (a misspelt filter must not give the
 * whole company's figures) or stands twice. An empty value counts as absent.
 */
export function readQuery<Name extends string>(req: Request, names: readonly Name[]): Partial<Record<Name, string>> {
  const found: Partial<Record<Name, string>> = {};
  for (const [key, value] of Object.entries(req.query)) {
    const name = names.find((candidate) => candidate === key);
    if (name === undefined) {
      throw new ReportParameterError(
        printable(key),
        `is not a parameter of this route; it knows ${names.join(', ') || 'none'}`,
      );
    }
    if (typeof value !== 'string') throw new ReportParameterError(name, 'must stand at most once');
    if (value !== '') found[name] = value;
  }
  return found;
}

function printable(text: string): string {
  return text.slice(0, 64).replace(/\p{Cc}/gu, '?');
}
