// The parts of prom-client that this program counts with. Its index loads default metrics, and OpenTelemetry's API for one of them: 3 MB of every
// gateway's memory. The package has no entry for less, so its files are named here and nowhere else; a unit test holds that they are what the
// index exports.
import { createRequire } from 'node:module';
import type * as PromClient from 'prom-client';

// Without types of their own: these are the index's.
const require = createRequire(import.meta.url);

export const AggregatorRegistry: typeof PromClient.AggregatorRegistry = require('prom-client/lib/cluster.js');
export type Counter<T extends string = string> = PromClient.Counter<T>;
export const Counter: typeof PromClient.Counter = require('prom-client/lib/counter.js');
export type Gauge<T extends string = string> = PromClient.Gauge<T>;
export const Gauge: typeof PromClient.Gauge = require('prom-client/lib/gauge.js');
export type Histogram<T extends string = string> = PromClient.Histogram<T>;
export const Histogram: typeof PromClient.Histogram = require('prom-client/lib/histogram.js');
export type Registry = PromClient.Registry;
export const Registry: typeof PromClient.Registry = require('prom-client/lib/registry.js');
