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

/** What a field may be at most. Blank values leak as 2³¹, 2⁴⁷ or 2⁶³ and a bit: as a ratio that would be a GPU that works all the time. */
const MAXIMA: Readonly<Record<Measure, number>> = {
  engineActive: 1.5,
  utilisation: 1.5,
  energyJoules: 2 ** 62 / 1000,
  powerWatts: 1e6,
};

const LINE = /^(DCGM_FI_\w+)\{(.*)\}\s+(\S+)/;
/** One after the other: a search for the next would take the square of the length of a line that holds none. */
const LABEL = /[\s,]*(\w+)="((?:[^"\\]|\\.)*)"/y;

type Found = { -readonly [Name in keyof GpuReading]: GpuReading[Name] } & {
  readonly instance: string;
  readonly names: readonly (string | undefined)[];
};

/**
 * The GPUs named in `gpus` by index (`0`), device (`nvidia0`), UUID or, for a slice, `UUID/instance id`; all of the page where none is named.
 * Ordered by UUID and instance. Null where the page has no DCGM field at all.
 */
export function parseDcgmText(text: string, gpus: readonly string[]): readonly GpuReading[] | null {
  const found = new Map<string, Found>();
  let isDcgm = false;
  for (const line of text.split('\n')) {
    const match = LINE.exec(line);
    if (match === null) continue;
    isDcgm = true;
    const [, name = '', labelText = '', valueText = ''] = match;
    const field = Object.hasOwn(FIELDS, name) ? FIELDS[name as keyof typeof FIELDS] : undefined;
    if (field === undefined) continue;
    const [measure, factor] = field;
    const value = Number(valueText) * factor;
    if (!(value >= 0 && value < MAXIMA[measure])) continue;
    const reading = findReading(found, readLabels(labelText));
    reading[measure] = measure === 'engineActive' || measure === 'utilisation' ? Math.min(1, value) : value;
  }
  if (!isDcgm) return null;
  return [...found]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, reading]) => reading)
    .filter((reading) => !isSliced(reading, found))
    .filter(({ names }) => gpus.length === 0 || names.some((name) => name !== undefined && gpus.includes(name)))
    .map((reading) => withWholeGpu(reading, found.get(`${reading.uuid}/`)));
}

function readLabels(text: string): ReadonlyMap<string, string> {
  const labels = new Map<string, string>();
  LABEL.lastIndex = 0;
  for (let match = LABEL.exec(text); match !== null; match = LABEL.exec(text))
    labels.set(match[1] ?? '', match[2] ?? '');
  return labels;
}

function findReading(found: Map<string, Found>, labels: ReadonlyMap<string, string>): Found {
  const uuid = labels.get('UUID') ?? labels.get('uuid') ?? labels.get('gpu') ?? '';
  const instance = labels.get('GPU_I_ID') ?? '';
  const key = `${uuid}/${instance}`;
  const reading = found.get(key) ?? {
    uuid,
    instance,
    names: [uuid, labels.get('gpu'), labels.get('device'), key],
    engineActive: null,
    utilisation: null,
    energyJoules: null,
    powerWatts: null,
  };
  found.set(key, reading);
  return reading;
}

/** A GPU that the page shows beside slices of it is no further device. */
function isSliced({ uuid, instance }: Found, found: ReadonlyMap<string, Found>): boolean {
  return instance === '' && found.values().some((other) => other.uuid === uuid && other.instance !== '');
}

/** Energy and power are the whole GPU's: a slice that does not repeat them has them all the same. */
function withWholeGpu(reading: Found, whole: Found | undefined): GpuReading {
  const { uuid, engineActive, utilisation, energyJoules, powerWatts } = reading;
  return {
    uuid,
    engineActive,
    utilisation,
    energyJoules: energyJoules ?? whole?.energyJoules ?? null,
    powerWatts: powerWatts ?? whole?.powerWatts ?? null,
  };
}
