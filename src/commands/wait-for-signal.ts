// Waiting for the operating system's word.

/**
 * One word may come several times: the terminal, npm and bin/inferometer.js each pass Ctrl-C on to the process that has it already, and systemd tells
 * all of them. None of these may end it in the middle of what the first began.
 */
const ECHO_MS = 1000;

/** Resolves with the first of the given signals; those that come more than a second later find their default behaviour again. */
export function waitForSignal(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let isHeard = false;
    const listen = (signal: NodeJS.Signals) => {
      if (isHeard) return;
      isHeard = true;
      setTimeout(() => {
        for (const other of signals) process.off(other, listen);
      }, ECHO_MS).unref();
      resolve(signal);
    };
    for (const signal of signals) process.on(signal, listen);
  });
}
