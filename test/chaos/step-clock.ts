// Preloaded into a gateway process by `node --import`: its wall clock is off by what a file says, as after a step of NTP. Test only;
// the product knows nothing of it. The monotonic clock is untouched, as a step leaves it.
import { readFileSync } from 'node:fs';

const file = process.env['CHAOS_CLOCK_FILE'] ?? '';
const READ_EVERY_MS = 20;
const realNow = Date.now.bind(Date);
let offsetMs = 0;
let readAtMs = Number.NEGATIVE_INFINITY;

function now(): number {
  const monotonicMs = performance.now();
  if (monotonicMs - readAtMs >= READ_EVERY_MS) {
    readAtMs = monotonicMs;
    try {
      offsetMs = Number(readFileSync(file, 'utf8')) || 0;
    } catch {
      offsetMs = 0;
    }
  }
  return realNow() + offsetMs;
}

const RealDate = Date;
const SteppedDate = new Proxy(RealDate, {
  construct: (target, args: [], newTarget) =>
    args.length === 0
      ? Reflect.construct(target, [now()], newTarget)
      : (Reflect.construct(target, args, newTarget) as object),
  get: (target, property, receiver) => (property === 'now' ? now : Reflect.get(target, property, receiver)),
});
Object.defineProperty(globalThis, 'Date', { value: SteppedDate, configurable: true, writable: true });
