// Waiting for the operating system's word.

/** Resolves with the first of the given signals; later ones find their default behaviour again. */
export function waitForSignal(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const listen = (signal: NodeJS.Signals) => {
      for (const other of signals) process.off(other, listen);
      resolve(signal);
    };
    for (const signal of signals) process.on(signal, listen);
  });
}
