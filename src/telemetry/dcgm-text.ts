// What a DCGM exporter's page says of some GPUs (upstreams.md §4). Not here: what changes from page to page (dcgm-sampler.ts).

/** One GPU, or one MIG slice of it. Null where the page does not tell. */
export interface GpuReading {
  readonly uuid: string;
  /** Part of the time in which the graphics engine worked, 0 … 1. */
  readonly engineActive: number | null;
  /** Part of the time in which any kernel ran, 0 … 1: coarse, and without meaning for a slice. */
  readonly utilisation: number | null;
  /** Of the whole GPU, also for a slice: joules since boot, and watts now. */
  readonly energyJoules: number | null;
  readonly powerWatts: number | null;
}

const FIELDS = {
  DCGM_FI_PROF_GR_ENGINE_ACTIVE: ['engineActive', 1],
  DCGM_FI_DEV_GPU_UTIL: ['utilisation', 0.01],
  DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION: ['energyJoules', 0.001],
  DCGM_FI_DEV_POWER_USAGE: ['powerWatts', 1],
} as const;

type Measure = (typeof FIELDS)[keyof typeof FIELDS][0];

/** Blank values leak as huge integers. */
const BLANK_MIN = 2 ** 62;
const LINE = /^(DCGM_FI_\w+)\{(.*)\}\s+(\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/**
 * The GPUs named in `gpus` by index (`0`), device (`nvidia0`), UUID or, for a slice, `UUID/instance id`; all of the page where none is named.
 * Ordered by UUID and instance. Null where the page has no DCGM field at all.
 */
export function parseDcgmText(text: string, gpus: readonly string[]): readonly GpuReading[] | null {
  const found = new Map<string, { uuid: string } & Record<Measure, number | null>>();
  let isDcgm = false;
  for (const line of text.split('\n')) {
    const match = LINE.exec(line);
    if (match === null) continue;
    isDcgm = true;
    const [, name = '', labelText = '', valueText = ''] = match;
    const field = Object.hasOwn(FIELDS, name) ? FIELDS[name as keyof typeof FIELDS] : undefined;
    const value = Number(valueText);
    if (field === undefined || !Number.isFinite(value) || value < 0 || value >= BLANK_MIN) continue;
    const labels = Object.fromEntries([...labelText.matchAll(LABEL)].map(([, key = '', held = '']) => [key, held]));
    const uuid = labels['UUID'] ?? labels['uuid'] ?? labels['gpu'] ?? '';
    const instance = labels['GPU_I_ID'] ?? '';
    const names = [uuid, labels['gpu'], labels['device'], `${uuid}/${instance}`];
    if (gpus.length > 0 && !names.some((known) => known !== undefined && gpus.includes(known))) continue;
    const key = `${uuid}/${instance}`;
    const reading = found.get(key) ?? {
      uuid,
      engineActive: null,
      utilisation: null,
      energyJoules: null,
      powerWatts: null,
    };
    found.set(key, reading);
    const [measure, factor] = field;
    const scaled = value * factor;
    reading[measure] = measure === 'engineActive' || measure === 'utilisation' ? Math.min(1, scaled) : scaled;
  }
  if (!isDcgm) return null;
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, reading]) => reading);
}
