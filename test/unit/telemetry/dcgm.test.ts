// A DCGM exporter's page, and what follows from page to page: energy, activity, and an upper bound for busy time.
import { describe, expect, test } from 'vitest';
import { DcgmSampler } from '#telemetry/dcgm-sampler.ts';
import { type GpuReading, parseDcgmText } from '#telemetry/dcgm-text.ts';

const PAGE = `# HELP DCGM_FI_PROF_GR_ENGINE_ACTIVE Ratio of time the graphics engine is active.
# TYPE DCGM_FI_PROF_GR_ENGINE_ACTIVE gauge
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-1111",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="node-a",pod="llama-0"} 0.83
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="1",uuid="GPU-2222",device="nvidia1",hostname="node-a",exported_pod="x"} 0.5
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-1111",device="nvidia0"} 97
DCGM_FI_DEV_MEMORY_TEMP{gpu="0",UUID="GPU-1111",device="nvidia0"} 9223372036854775794
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-1111",device="nvidia0"} 812345678901
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="1",uuid="GPU-2222",device="nvidia1"} 9223372036854775794
`;

describe('the page', () => {
  test('is read per GPU: ratios from 0 to 1, joules, and blanks are unknown, never huge', () => {
    expect(parseDcgmText(PAGE, [])).toEqual([
      { uuid: 'GPU-1111', engineActive: 0.83, utilisation: 0.97, energyJoules: 812_345_678.901, powerWatts: null },
      { uuid: 'GPU-2222', engineActive: 0.5, utilisation: null, energyJoules: null, powerWatts: null },
    ]);
  });

  test.each([[['0']], [['GPU-1111']], [['nvidia0']]])('%j names the first GPU', (gpus) => {
    expect(parseDcgmText(PAGE, gpus)?.map(({ uuid }) => uuid)).toEqual(['GPU-1111']);
  });

  test('slices of one GPU are told apart by their instance', () => {
    const slice = (id: number, active: number) =>
      `DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-1",GPU_I_PROFILE="1g.10gb",GPU_I_ID="${id}"} ${active}\n`;
    const page = slice(7, 0.2) + slice(8, 0.9);
    expect(parseDcgmText(page, ['GPU-1/8'])?.map(({ engineActive }) => engineActive)).toEqual([0.9]);
    expect(parseDcgmText(page, ['GPU-1'])).toHaveLength(2);
  });

  test('blanks of every width are unknown, never a GPU that works all the time', () => {
    const line = (field: string, value: string): string => `DCGM_FI_${field}{gpu="0",UUID="GPU-1"} ${value}\n`;
    const known = { uuid: 'GPU-1', engineActive: 1, utilisation: null, energyJoules: null, powerWatts: 300 };
    for (const blank of [
      '140737488355328',
      '1.40737488355330e+14',
      '2147483632',
      '9223372036854775794',
      'NaN',
      '+Inf',
      '-1',
    ])
      expect(
        parseDcgmText(
          line('PROF_GR_ENGINE_ACTIVE', '1.02') +
            line('PROF_GR_ENGINE_ACTIVE', blank) +
            line('DEV_GPU_UTIL', blank) +
            line('DEV_POWER_USAGE', '300') +
            line('DEV_POWER_USAGE', blank),
          [],
        ),
        blank,
      ).toEqual([known]);
  });

  test('what only the whole GPU shows of energy is its slices’, and beside them it is no further device', () => {
    const page = `DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-1"} 5000
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-1"} 300
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-1"} 100
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-1",GPU_I_PROFILE="1g.10gb",GPU_I_ID="7"} 0.25
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-1",GPU_I_PROFILE="1g.10gb",GPU_I_ID="8"} 0.75
`;
    const slice = { uuid: 'GPU-1', utilisation: null, energyJoules: 5, powerWatts: 300 };
    const slices = [
      { ...slice, engineActive: 0.25 },
      { ...slice, engineActive: 0.75 },
    ];
    expect(parseDcgmText(page, [])).toEqual(slices);
    expect(parseDcgmText(page, ['0'])).toEqual(slices);
    expect(parseDcgmText(page, ['GPU-1/8'])).toEqual([slices[1]]);
  });

  test('labels may hold escapes, braces and commas, and the line a time and a carriage return', () => {
    const page = String.raw`DCGM_FI_DEV_GPU_UTIL{ gpu="0", UUID="GPU-1",pod="a\"b,UUID=\"x} 3",modelName="c}d",} 40 1700000000000`;
    expect(parseDcgmText(`${page}\r\n`, ['GPU-1'])?.map(({ uuid, utilisation }) => [uuid, utilisation])).toEqual([
      ['GPU-1', 0.4],
    ]);
  });

  test('a line that is no label for a megabyte holds up nothing', () => {
    const beganAtMs = performance.now();
    for (const junk of ['a', 'a="', 'a="\\', ' ', '} ', 'a=",'])
      parseDcgmText(`DCGM_FI_DEV_GPU_UTIL{${junk.repeat(1_000_000 / junk.length)}} 1\n`, []);
    expect(performance.now() - beganAtMs).toBeLessThan(3000);
  });

  test('of another server is none, and GPUs that are not there are none', () => {
    expect(parseDcgmText('vllm:num_requests_running 1\n', [])).toBeNull();
    expect(parseDcgmText(PAGE, ['GPU-9'])).toEqual([]);
  });
});

const gpu = (parts: Partial<GpuReading> = {}): GpuReading => ({
  uuid: 'GPU-1',
  engineActive: 0.5,
  utilisation: 1,
  energyJoules: null,
  powerWatts: null,
  ...parts,
});

describe('from page to page', () => {
  test('the first page says nothing, the next the joules and the activity between', () => {
    const sampler = new DcgmSampler();
    expect(sampler.take([gpu({ energyJoules: 100 })], 0, 1)).toEqual({ joules: 0, active: null, busy: null });
    const pair = [gpu({ energyJoules: 400 }), gpu({ uuid: 'GPU-2', engineActive: 0.1 })];
    expect(sampler.take(pair, 1000, 1)).toMatchObject({ joules: 300, active: { fromMs: 0, toMs: 1000, busyMs: 300 } });
  });

  test('a page that repeats itself is the same collection: its time is counted once, when it changes', () => {
    const sampler = new DcgmSampler();
    for (let second = 0; second < 30; second += 1) {
      expect(sampler.take([gpu({ energyJoules: 100 })], second * 1000, 1).active).toBeNull();
    }
    const { active, joules, busy } = sampler.take([gpu({ energyJoules: 9100, engineActive: 0.9 })], 30_000, 1);
    expect(active?.busyMs).toBeCloseTo(0.9 * 30_000, 6);
    expect(joules).toBe(9000);
    // Half a minute cannot tell one second from the next.
    expect(busy).toBeNull();
  });

  test('busy time is the more active of a second and the next, once a second at least is collected', () => {
    const sampler = new DcgmSampler();
    const ratios = [0, 0, 0.2, 1, 0.3, 0.3];
    const busy = ratios.map(
      (engineActive, second) =>
        sampler.take([gpu({ engineActive, energyJoules: 100 + second * 300 })], second * 1000, 1).busy?.busyMs,
    );
    expect(busy.map((ms) => (ms === undefined ? null : Math.round(ms)))).toEqual([null, null, 200, 1000, 1000, 300]);
  });

  test('utilisation stands in for activity, but never for busy time: any kernel counts in it', () => {
    const sampler = new DcgmSampler();
    const samples = [0, 1, 2, 3].map((second) =>
      sampler.take([gpu({ engineActive: null, utilisation: 0.4, energyJoules: second })], second * 1000, 1),
    );
    expect(samples[3]?.active?.busyMs).toBeCloseTo(400, 6);
    expect(samples.every(({ busy }) => busy === null)).toBe(true);
  });

  test('the fraction of a percent that an idle GPU shows is no activity', () => {
    const sampler = new DcgmSampler();
    sampler.take([gpu({ energyJoules: 0 })], 0, 1);
    expect(sampler.take([gpu({ energyJoules: 9, engineActive: 0.004 })], 1000, 1).active?.busyMs).toBe(0);
  });

  test('a GPU that tells nothing makes the mean unknown, not smaller', () => {
    const sampler = new DcgmSampler();
    const blank = gpu({ uuid: 'GPU-2', engineActive: null, utilisation: null });
    sampler.take([gpu({ energyJoules: 0 }), blank], 0, 1);
    expect(sampler.take([gpu({ energyJoules: 9 }), blank], 1000, 1).active).toBeNull();
  });

  test('a counter that falls or leaps, or a long silence, adds no energy', () => {
    const sampler = new DcgmSampler();
    sampler.take([gpu({ energyJoules: 1e6 })], 0, 1);
    expect(sampler.take([gpu({ energyJoules: 5 })], 1000, 1).joules).toBe(0);
    expect(sampler.take([gpu({ energyJoules: 1e9 })], 2000, 1).joules).toBe(0);
    expect(sampler.take([gpu({ energyJoules: 1e9 + 600 })], 4000, 1).joules).toBe(600);
    expect(sampler.take([gpu({ energyJoules: 1e9 + 1200 })], 400_000, 1)).toEqual({
      joules: 0,
      active: null,
      busy: null,
    });
  });

  test('energy is of whole GPUs: slices share it by the part that is ours, power stands in for a counter', () => {
    const sampler = new DcgmSampler();
    const slices = (energyJoules: number) => [gpu({ energyJoules }), gpu({ energyJoules })];
    sampler.take(slices(0), 0, 0.25);
    expect(sampler.take(slices(400), 1000, 0.25).joules).toBe(100);
    const powered = new DcgmSampler();
    powered.take([gpu({ powerWatts: 200 })], 0, 1);
    expect(powered.take([gpu({ powerWatts: 300 })], 2000, 1).joules).toBe(600);
  });
});
