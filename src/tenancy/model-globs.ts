// Globs over model names as keys and teams list them: `*` any text, `?` one character, case ignored.

/** Returns whether any of `names` matches any of the globs; null allows every name. */
export function createModelFilter(globs: readonly string[] | null): (names: readonly string[]) => boolean {
  if (globs === null) return () => true;
  const patterns = globs.map(toPattern);
  return (names) => names.some((name) => patterns.some((pattern) => pattern.test(name)));
}

/** A glob as an anchored pattern. Runs of `*` collapse so that matching stays linear in practice. */
function toPattern(glob: string): RegExp {
  const source = glob
    .replace(/\*+/g, '*')
    .replace(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 'isu');
}
