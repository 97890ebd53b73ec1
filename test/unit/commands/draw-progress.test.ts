// A bar on a terminal that only takes notes.
import { PassThrough } from 'node:stream';
import { expect, it, onTestFinished } from 'vitest';
import { drawProgress } from '#src/commands/draw-progress.ts';

function createTerminal(): { readonly stream: typeof process.stderr; readonly written: () => string } {
  const pieces: Buffer[] = [];
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
  stream.on('data', (piece: Buffer) => void pieces.push(piece));
  return {
    stream: stream as unknown as typeof process.stderr,
    written: () => Buffer.concat(pieces).toString('utf8'),
  };
}

/** Whether cursor and wrapping of lines are as they were: what was switched off last was switched on again. */
function isRestored(text: string): boolean {
  return ['25', '7'].every((mode) => text.lastIndexOf(`\u001b[?${mode}h`) > text.lastIndexOf(`\u001b[?${mode}l`));
}

it('a signal in the middle gives the terminal back, and leaves the end of the process to who listens for it', () => {
  const heard: string[] = [];
  const listen = (signal: string): void => void heard.push(signal);
  process.on('SIGINT', listen);
  onTestFinished(() => void process.removeListener('SIGINT', listen));
  const { stream, written } = createTerminal();
  const listeners = process.listenerCount('SIGTERM');
  const progress = drawProgress('working', true, stream);
  progress.update(0.5, 'half');
  expect(isRestored(written())).toBe(false);
  process.emit('SIGINT', 'SIGINT');
  expect(isRestored(written())).toBe(true);
  expect(heard).toEqual(['SIGINT']);
  expect(process.listenerCount('SIGTERM')).toBe(listeners);
});

it('a bar that was stopped gives the terminal back and listens for nothing', () => {
  const { stream, written } = createTerminal();
  const listeners = process.listenerCount('SIGINT');
  const progress = drawProgress('working', true, stream);
  progress.stop();
  expect(isRestored(written())).toBe(true);
  expect(process.listenerCount('SIGINT')).toBe(listeners);
});
