// The parts of undici that connect to engines. Its index loads fetch, WebSocket, caches and mocks besides: 6 MB of every gateway's memory. The
// package has no entry for less, so its files are named here and nowhere else; a unit test holds that they are what the index exports.
import { createRequire } from 'node:module';
import type * as Undici from 'undici';

// Without types of their own: these are the index's.
const require = createRequire(import.meta.url);

export const Pool: typeof Undici.Pool = require('undici/lib/dispatcher/pool.js');
export const createConnector: typeof Undici.buildConnector = require('undici/lib/core/connect.js');
export const ProxyAgent: typeof Undici.ProxyAgent = require('undici/lib/dispatcher/proxy-agent.js');

// As the index does: a dispatcher of these files alone knows `dispatch`, but not `request`.
const dispatcher: typeof Undici.Dispatcher = require('undici/lib/dispatcher/dispatcher.js');
Object.assign(dispatcher.prototype, require('undici/lib/api/index.js'));
