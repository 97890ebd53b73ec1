// A DCGM exporter that shows what a test wants: energy that goes on counting and an activity that can be set.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TestExporter {
  /** URL of its page. */
  readonly url: string;
  /** Part of the time the GPUs work from now on, 0 … 1. */
  active: number;
  /** Watts of each GPU. */
  watts: number;
  /** Pages served. */
  readonly pages: () => number;
  close(): Promise<void>;
}

/** GPUs `GPU-0`, `GPU-1`, …; every page is a new collection. */
export async function startDcgmExporter(gpus = 1): Promise<TestExporter> {
  const startedAtMs = performance.now();
  let pages = 0;
  let lastMs = startedAtMs;
  let energyMj = 1_000_000;
  const server = createServer((_req, res) => {
    pages += 1;
    const nowMs = performance.now();
    energyMj += exporter.watts * (nowMs - lastMs);
    lastMs = nowMs;
    const lines = Array.from({ length: gpus }, (_, gpu) => {
      const labels = `gpu="${gpu}",UUID="GPU-${gpu}",pci_bus_id="00000000:19:00.0",device="nvidia${gpu}",modelName="NVIDIA H100 80GB HBM3",Hostname="node-a"`;
      return [
        `DCGM_FI_PROF_GR_ENGINE_ACTIVE{${labels}} ${exporter.active}`,
        `DCGM_FI_DEV_GPU_UTIL{${labels}} ${Math.round(exporter.active * 100)}`,
        `DCGM_FI_DEV_POWER_USAGE{${labels}} ${exporter.watts}`,
        `DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{${labels}} ${Math.round(energyMj)}`,
        `DCGM_FI_DEV_MEMORY_TEMP{${labels}} 9223372036854775794`,
      ].join('\n');
    });
    res
      .setHeader('content-type', 'text/plain')
      .end(`# TYPE DCGM_FI_PROF_GR_ENGINE_ACTIVE gauge\n${lines.join('\n')}\n`);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const exporter: TestExporter = {
    url: `http://127.0.0.1:${port}/metrics`,
    active: 0,
    watts: 300,
    pages: () => pages,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return exporter;
}
