// Progress of commands that take a while: a bar on a terminal, a line now and then elsewhere.
import { SingleBar } from 'cli-progress';

export interface Progress {
  /** `share` 0 … 1 and what to say beside it. */
  update(share: number, text: string): void;
  stop(): void;
}

const PERCENT = 100;
/** Without a terminal one line per this many percent. */
const QUIET_STEP_PERCENT = 25;

/** What ends a command that waits for nothing else. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Draws on stderr, so that what the demo prints can be piped; `stream` is the terminal's. */
export function drawProgress(label: string, isTerminal: boolean, stream = process.stderr): Progress {
  if (!isTerminal) return writeLines(label);
  const bar = new SingleBar({
    stream,
    format: `${label} {bar} {percentage}% {text}`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    barsize: 32,
  });
  // A process that dies while the bar is drawn leaves the terminal without a cursor and without wrapping lines.
  const restore = (signal: NodeJS.Signals): void => {
    end();
    // Whoever listens too decides when the process ends; otherwise the signal does what it would have done.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  const end = (): void => {
    for (const signal of SIGNALS) process.removeListener(signal, restore);
    bar.stop();
  };
  bar.start(PERCENT, 0, { text: '' });
  for (const signal of SIGNALS) process.once(signal, restore);
  return {
    update: (share, text) => bar.update(Math.round(share * PERCENT), { text }),
    stop: () => {
      bar.update(PERCENT);
      end();
    },
  };
}

function writeLines(label: string): Progress {
  let said = -1;
  return {
    update(share, text) {
      const step = Math.floor((share * PERCENT) / QUIET_STEP_PERCENT);
      if (step <= said) return;
      said = step;
      process.stderr.write(`${label} ${step * QUIET_STEP_PERCENT} % ${text}\n`);
    },
    stop() {},
  };
}
