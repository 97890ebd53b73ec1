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

/** Draws on stderr, so that what the demo prints can be piped. */
export function drawProgress(label: string, isTerminal: boolean): Progress {
  if (!isTerminal) return writeLines(label);
  const bar = new SingleBar({
    format: `${label} {bar} {percentage}% {text}`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    barsize: 32,
  });
  bar.start(PERCENT, 0, { text: '' });
  return {
    update: (share, text) => bar.update(Math.round(share * PERCENT), { text }),
    stop: () => {
      bar.update(PERCENT);
      bar.stop();
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
