// Texts that clients choose and records keep: of bounded length, and the same wherever they are stored.

/** The record keeps who asked for what, not an essay. */
const LENGTH_MAX = 256;

/** At most LENGTH_MAX UTF-16 units; half a character, sent so or left by the cut, becomes U+FFFD, as every store would have it. */
export function keepText(text: string): string {
  return text.slice(0, LENGTH_MAX).toWellFormed();
}
