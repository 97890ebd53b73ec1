// The thread of load-config-aside.ts: loads one config, tells the result, ends.
import { parentPort, workerData } from 'node:worker_threads';
import { loadConfig, type LoadOptions } from './load-config.ts';

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
parentPort?.postMessage(loadConfig(workerData as LoadOptions));
