// Which deployments a team may use, by the globs of its config; only to share idle evenly. Admission is tenancy's.

/** Whether any name matches any glob; `*` and `?` as in shells, ignoring case (contract §3, `models`). */
export function mayUseAny(globs: readonly string[], names: readonly string[]): boolean {
  return globs.some((glob) => {
    const pattern = toPattern(glob);
    return names.some((name) => pattern.test(name));
  });
}

function toPattern(glob: string): RegExp {
  const escaped = glob.replace(/[.+^${}()|[\]\\]/g, String.raw`\$&`);
  // Runs of stars collapse: `**` must not make the match quadratic.
  return new RegExp(`^${escaped.replace(/\*+/g, '.*').replaceAll('?', '.')}$`, 'i');
}
