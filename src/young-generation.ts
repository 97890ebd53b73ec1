// V8 settings of a gateway process: what belongs to a request is allocated where the young are collected, and that place is as large as the work asks for.
import { availableParallelism } from 'node:os';
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from 'node:v8';

const MIB = 1024 * 1024;

/** Of two halves of 2 MiB one holds less, of two of 4 it holds more; what pages need of it themselves is left out. */
const HALF_BYTES_MIN = 3 * MIB;
/** The same for two of 8 and of 16, for a process that is busy. */
const BUSY_HALF_BYTES_MIN = 12 * MIB;
/** What about 1,500 requests a second allocate, what V8 moves of it counted again. */
const BUSY_BYTES_PER_MS = 100_000;
/** Far more often than it can double twice under load. */
const LOOK_INTERVAL_MS = 100;
/** Part of the newest look in the rate of allocation: half a second of work counts as work. */
const NEWEST_PART = 0.2;

/**
 * Call before the first request.
 *
 * V8 learns which object literals live long and allocates those with the old. A burst of 400 open requests teaches it that requests do, for the
 * rest of the process's life: each request's first old object, dead within milliseconds, then keeps its whole request alive until the next full
 * collection. Measured on node:http with undici alone: 1.6 MB promoted in 8 s before such a burst, 320 MB after it, requests per second down by
 * a third.
 *
 * The young generation doubles as survivors come by, from two halves of 1 MiB to two of 32, and V8 makes it small again in a quiet minute. It is
 * held where it is enough: each collection stops the process for as long as its survivors take, those of the last 300 requests with two halves of
 * 16. At saturation two of 2 are 250 collections a second and half as much CPU again for every request, two of 8 take 106 ms a second and a third
 * more CPU, two of 16 take 70 ms in pauses of 5, two of 32 take 50 ms in longer ones and 22 to 38 MB more memory. Of fewer requests the CPU hardly
 * depends on it, and thousands of open streams need 16 MB less.
 *
 * On one CPU the event loop would wait for helpers that the same CPU has to run: at 1,000 requests a second it stood still for more than a
 * millisecond in 4 % of the time with helpers and in 2 % without.
 */
export function settleYoungGeneration(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
  if (availableParallelism() === 1) setFlagsFromString('--no-parallel-scavenge');
  let allocatedBytes = getHeapStatistics().total_allocated_bytes;
  let lookedAtMs = performance.now();
  let bytesPerMs = 0;
  let mayGrow: boolean | null = null;
  const look = (): void => {
    const { total_allocated_bytes: total } = getHeapStatistics();
    const nowMs = performance.now();
    const elapsedMs = nowMs - lookedAtMs;
    if (elapsedMs > 0) bytesPerMs += ((total - allocatedBytes) / elapsedMs - bytesPerMs) * NEWEST_PART;
    allocatedBytes = total;
    lookedAtMs = nowMs;
    const isSmall = readHalfBytes() < (bytesPerMs > BUSY_BYTES_PER_MS ? BUSY_HALF_BYTES_MIN : HALF_BYTES_MIN);
    if (isSmall === mayGrow) return;
    mayGrow = isSmall;
    setFlagsFromString(`--semi-space-growth-factor=${isSmall ? 2 : 1}`);
  };
  look();
  setInterval(look, LOOK_INTERVAL_MS).unref();
}

function readHalfBytes(): number {
  const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space');
  return young === undefined ? Number.POSITIVE_INFINITY : young.space_used_size + young.space_available_size;
}
