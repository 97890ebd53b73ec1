// The house rules that a reader relies on: who may import whom, and how large a file may grow.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');

/** Folder → folders of src it may import. Packages are checked apart. `config` may be imported as types by anyone above domain. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  domain: [],
  config: ['domain', 'engines'],
  attribution: ['domain'],
  accounting: ['domain', 'attribution', 'config'],
  engines: ['domain'],
  store: ['domain'],
  tenancy: ['domain', 'config'],
  gateway: ['domain', 'attribution', 'accounting', 'config', 'tenancy', 'tokenizer'],
  grpc: ['domain', 'config', 'tenancy', 'gateway'],
  observe: ['domain', 'config'],
  reports: ['domain', 'config'],
  ledger: ['domain', 'attribution', 'accounting', 'config', 'reports'],
  admin: ['domain', 'config', 'reports', 'observe'],
  workers: ['domain', 'config', 'reports', 'observe', 'top'],
  simulator: ['domain'],
  tokenizer: ['domain'],
  calibrate: ['domain', 'attribution'],
  telemetry: ['domain', 'attribution', 'accounting', 'config'],
};

/** Packages that only one folder may know. */
const ONLY_IN: Record<string, readonly string[]> = {
  ioredis: ['store'],
  'node:sqlite': ['store', 'accounting'],
  'prom-client': ['observe'],
  'http-proxy-middleware': ['gateway'],
  '@grpc/grpc-js': ['grpc', 'simulator'],
  express: ['gateway', 'admin', 'simulator'],
  zod: ['config'],
  yaml: ['config'],
  pino: ['observe'],
};

interface Import {
  file: string;
  folder: string;
  specifier: string;
}

function folderOf(file: string): string {
  const parts = file.split('/');
  return parts.length > 2 ? (parts[1] as string) : 'top';
}

function readImports(): Import[] {
  const imports: Import[] = [];
  for (const file of globSync('src/**/*.ts', { cwd: ROOT })) {
    const text = readFileSync(join(ROOT, file), 'utf8');
    for (const match of text.matchAll(/(?:from|import|require|import\.meta\.url\))\s*\(?\s*'([^']+)'/g)) {
      imports.push({ file, folder: folderOf(file), specifier: match[1] as string });
    }
  }
  return imports;
}

/** Folder of src that a specifier reaches, or undefined for a package. */
function targetFolder(entry: Import): string | undefined {
  const subpath = /^#([\w-]+)\//.exec(entry.specifier)?.[1];
  if (subpath !== undefined) return subpath === 'src' ? 'top' : subpath;
  if (!entry.specifier.startsWith('.')) return undefined;
  return folderOf(join(entry.file, '..', entry.specifier));
}

describe('architecture', () => {
  const imports = readImports();

  it('imports point downwards only', () => {
    const wrong = imports.filter((entry) => {
      const target = targetFolder(entry);
      if (target === undefined || target === entry.folder) return false;
      return MAY_IMPORT[entry.folder] !== undefined && !MAY_IMPORT[entry.folder]?.includes(target);
    });
    expect(wrong.map((entry) => `${entry.file} imports ${entry.specifier}`)).toEqual([]);
    expect(imports.length).toBeGreaterThan(100);
  });

  it('every folder of src has its import rule', () => {
    const folders = new Set(imports.map((entry) => entry.folder));
    const ruled = new Set([...Object.keys(MAY_IMPORT), 'top', 'demo', 'commands']);
    expect([...folders].filter((folder) => !ruled.has(folder))).toEqual([]);
  });

  it('the domain imports no package at all', () => {
    const wrong = imports.filter((entry) => entry.folder === 'domain' && !entry.specifier.startsWith('.'));
    expect(wrong.map((entry) => `${entry.file} imports ${entry.specifier}`)).toEqual([]);
  });

  it('each technology is known to its adapter only', () => {
    const wrong = imports.filter((entry) => {
      const known = Object.keys(ONLY_IN).find((name) => `${entry.specifier}/`.startsWith(`${name}/`));
      return known !== undefined && ONLY_IN[known]?.includes(entry.folder) !== true;
    });
    expect(wrong.map((entry) => `${entry.file} imports ${entry.specifier}`)).toEqual([]);
  });

  it('nothing in src goes by a name that says nothing', () => {
    const vague = /(^|\/)(utils?|helpers?|common|types|index|manager|misc)\.ts$/;
    expect(globSync('src/**/*.ts', { cwd: ROOT }).filter((file) => vague.test(file))).toEqual([]);
  });

  it('no environment is read outside the loader and the command line, and no wall clock outside the clock', () => {
    const wrong: string[] = [];
    for (const file of globSync('src/**/*.ts', { cwd: ROOT })) {
      const code = readFileSync(join(ROOT, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      if (/process\.env/.test(code) && !/src\/(config\/load-config|main)\.ts$/.test(file))
        wrong.push(`${file}: process.env`);
    }
    expect(wrong).toEqual([]);
  });
});
