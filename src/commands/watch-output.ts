// What becomes of an answer that cannot be written. Without this every such error ends the process with a stack trace.

/** A reader that has seen enough (`| head`) is no failure; a full disk is one, whatever the command itself ends with. */
export function watchOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    process.stderr.write(`inferometer: cannot write the answer: ${error.code ?? error.message}\n`);
    process.once('exit', () => {
      process.exitCode = 1;
    });
  });
  // Nobody is left to be told.
  process.stderr.on('error', () => {});
}
