// `${VAR}`, `${VAR:-default}` and `$${` in one text. Which scalars it is applied to stands in read-yaml.ts.

/** Environment variables as the process got them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The text with variables replaced, or what is wrong with it; messages name variables, never values. */
export type Interpolation =
  | { readonly ok: true; readonly text: string; readonly usedVariable: boolean }
  | { readonly ok: false; readonly messages: readonly string[] };

const REFERENCE = /\$\$\{|\$\{(?:([A-Za-z_]\w*)(?::-([^}]*))?\})?/g;

/**
 * Replaces each reference once: values are not searched again. As in a shell, `:-` also covers a variable that is set
 * but empty. `$${` becomes a literal `${`. A default cannot hold a variable: the first `}` ends it.
 */
export function interpolate(text: string, env: Environment): Interpolation {
  const messages: string[] = [];
  let usedVariable = false;
  const replaced = text.replace(REFERENCE, (reference: string, name?: string, fallback?: string) => {
    if (reference === '$${') return '${';
    if (name === undefined) {
      messages.push('"${" opens no variable: expected ${NAME} or ${NAME:-default}, and $${ for a literal "${"');
      return '';
    }
    if (fallback?.includes('${') === true) {
      messages.push(`the default of \${${name}:-…} holds a variable: expected plain text without \${`);
      return '';
    }
    usedVariable = true;
    const value = env[name];
    if (value !== undefined && (value !== '' || fallback === undefined)) return value;
    if (fallback !== undefined) return fallback;
    messages.push(`environment variable ${name} is not set: set it, or give a default as \${${name}:-default}`);
    return '';
  });
  return messages.length === 0 ? { ok: true, text: replaced, usedVariable } : { ok: false, messages };
}
