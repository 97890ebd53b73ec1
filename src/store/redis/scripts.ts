// Loads the Lua scripts and binds each to the names of its keys and arguments. A unit test compares both with the files' headers.
import { readFileSync } from 'node:fs';

export interface ScriptBinding {
  /** File in lua/, without `.lua`. */
  readonly file: string;
  /** Fixed keys; a script with `moreKeys` takes any number after them. */
  readonly keyCount: number;
  readonly moreKeys: boolean;
  readonly argCount: number;
  readonly moreArgs: boolean;
}

/** By the name of the command ioredis defines for it. */
export const SCRIPTS = {
  openStore: { file: 'open-store', keyCount: 1, moreKeys: false, argCount: 2, moreArgs: false },
  joinSettlement: { file: 'join-settlement', keyCount: 5, moreKeys: false, argCount: 4, moreArgs: false },
  syncMessage: { file: 'sync-message', keyCount: 11, moreKeys: true, argCount: 12, moreArgs: true },
  readFreezeInput: { file: 'read-freeze-input', keyCount: 7, moreKeys: false, argCount: 1, moreArgs: false },
  commitFreeze: { file: 'commit-freeze', keyCount: 8, moreKeys: true, argCount: 9, moreArgs: false },
  addVoucher: { file: 'add-voucher', keyCount: 4, moreKeys: true, argCount: 5, moreArgs: false },
  finishExport: { file: 'finish-export', keyCount: 1, moreKeys: false, argCount: 2, moreArgs: false },
  dropDay: { file: 'drop-day', keyCount: 4, moreKeys: false, argCount: 1, moreArgs: false },
  beginRestore: { file: 'begin-restore', keyCount: 8, moreKeys: false, argCount: 1, moreArgs: false },
  putFacts: { file: 'put-facts', keyCount: 2, moreKeys: false, argCount: 2, moreArgs: false },
  acquireLeases: { file: 'acquire-leases', keyCount: 0, moreKeys: true, argCount: 2, moreArgs: false },
  releaseLeases: { file: 'release-leases', keyCount: 0, moreKeys: true, argCount: 1, moreArgs: false },
  putLearned: { file: 'put-learned', keyCount: 1, moreKeys: false, argCount: 2, moreArgs: false },
} as const satisfies Record<string, ScriptBinding>;

export type ScriptName = keyof typeof SCRIPTS;

/** Text of a script with the fragments its header names put before it. Throws when a file is missing. */
export function loadScript(name: ScriptName): string {
  const body = readLua(SCRIPTS[name].file);
  const named = /^-- Includes: (.+)$/m.exec(body)?.[1] ?? '';
  const fragments = named.split(', ').filter((fragment) => fragment !== '');
  return [...fragments.map((fragment) => readLua(`fragments/${fragment}`)), body].join('\n');
}

function readLua(file: string): string {
  return readFileSync(new URL(`lua/${file}.lua`, import.meta.url), 'utf8');
}
