// Noticing that nobody takes what a command prints that has more to end than itself: `| head` has enough, a terminal was closed.

/** Resolves with the failure of the first write to stdout or stderr. What the other commands do about it: watch-output.ts. */
export function waitForLostReader(): Promise<NodeJS.ErrnoException> {
  return new Promise((resolve) => {
    for (const stream of [process.stdout, process.stderr]) stream.on('error', resolve);
  });
}
