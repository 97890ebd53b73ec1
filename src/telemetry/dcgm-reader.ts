// Reads one DCGM exporter under a lease: energy for the metrics, activity for the books. Not here: when (create-telemetry.ts).
import type { DeviceActivity } from '#accounting/device-activity.ts';
import type { Clock } from '#domain/clock.ts';
import type { Log } from '#domain/log.ts';
import type { Dispatcher } from 'undici';
import { DcgmSampler } from './dcgm-sampler.ts';
import { type GpuReading, parseDcgmText } from './dcgm-text.ts';
import { fetchStatistics } from './fetch-statistics.ts';
import type { StatisticsTarget } from './statistics-targets.ts';

/** An exporter answers from memory. */
export const DCGM_TIMEOUT_MS = 2000;

export interface DcgmReaderOptions {
  readonly target: StatisticsTarget;
  readonly dispatcher: Dispatcher;
  readonly activity: DeviceActivity;
  readonly clock: Clock;
  readonly log: Log;
  readonly onEnergy: (pool: { readonly deployment: string; readonly gpu: string }, joules: number) => void;
}

/** State of one exporter between two leases. */
export class DcgmReader {
  readonly #options: DcgmReaderOptions;
  readonly #sampler = new DcgmSampler();
  #isCountTold = false;

  constructor(options: DcgmReaderOptions) {
    this.#options = options;
  }

  /** Reads the page once. Rejects where it is none of DCGM's, or shows none of the GPUs. */
  async read(): Promise<void> {
    const { target, dispatcher, activity, clock, onEnergy } = this.#options;
    const url = new URL(target.upstream.dcgm);
    const page = await fetchStatistics({
      dispatcher,
      path: url.pathname + url.search,
      upstream: { apiKey: '', headers: readBasicAuth(url) },
      timeoutMs: DCGM_TIMEOUT_MS,
    });
    const atMs = clock.monotonicMs();
    if (page.status !== 200) throw new Error(`status ${page.status}`);
    const readings = parseDcgmText(page.text, target.upstream.gpus);
    if (readings === null) throw new Error('the page holds no DCGM fields');
    if (readings.length === 0) throw new Error('the page shows none of the GPUs that upstreams[].gpus names');
    const { joules, active, busy } = this.#sampler.take(readings, atMs, this.#readShare(readings));
    if (joules > 0) onEnergy({ deployment: target.deployments.join('+'), gpu: target.deployment.gpu }, joules);
    if (!target.isWholePool) return;
    if (active !== null) {
      const span = { fromMs: clock.toEpochMs(active.fromMs), toMs: clock.toEpochMs(active.toMs) };
      activity.addActive(target.pool, { ...span, activeMs: active.busyMs });
    }
    if (busy !== null) {
      const span = { fromMs: clock.toEpochMs(busy.fromMs), toMs: clock.toEpochMs(busy.toMs) };
      activity.cover({ pool: target.pool, source: 'dcgm', ...span, busyMs: busy.busyMs });
    }
  }

  /** Our part of the GPUs shown, at most all of them; a difference that `gpus` should settle is told once. */
  #readShare(readings: readonly GpuReading[]): number {
    const { target, log } = this.#options;
    const gpus = (target.deployment.gpuMillionths * target.upstream.replicas) / 1_000_000;
    const shown = new Set(readings.map(({ uuid }) => uuid)).size;
    if (shown > Math.ceil(gpus) && !this.#isCountTold) {
      this.#isCountTold = true;
      const fields = { deployment: target.deployment.name, upstream: target.upstream.name, gpus, shown };
      log.warn(fields, 'the DCGM exporter shows more GPUs than the upstream has; name them in upstreams[].gpus');
    }
    return Math.min(1, gpus / shown);
  }
}

/** User and password of an exporter that asks for them stand in its URL, percent-encoded, and nowhere else. */
function readBasicAuth({ username, password }: URL): Readonly<Record<string, string>> {
  if (username === '' && password === '') return {};
  const pair = Buffer.from(`${decodePart(username)}:${decodePart(password)}`, 'utf8');
  return { authorization: `Basic ${pair.toString('base64')}` };
}

/** A lone percent sign is no encoding: it is meant as it stands. */
function decodePart(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
