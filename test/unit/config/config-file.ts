// Writes config files for the tests of this folder into a folder of their own, and loads them at a fixed instant.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Config } from '#config/config.ts';
import { loadConfig } from '#config/load-config.ts';
import type { LoadResult } from '#config/load-config.ts';
import { formatProblem } from '#config/problem.ts';

/** 2026-11-23T00:00:00Z, the "now" of these tests. */
export const NOW_MS = Date.UTC(2026, 10, 23);

/** The least that is valid; `deployments` continues below the last line. */
export const MINIMAL = `
prices:
  - { name: h100, gpu: H100-SXM, usdPerGpuHour: 2.50, from: 2026-01-01 }
teams:
  - { name: search, keys: [{ key: 0123456789abcdef }] }
deployments:
  - name: llama
    models: [llama-8b]
    engine: vllm
    gpu: H100-SXM
    upstreams: [{ url: "http://127.0.0.1:8000" }]
`;

/** A folder that is removed when the test ends. */
export function createFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function loadText(text: string, env: Readonly<Record<string, string>> = {}): LoadResult {
  const path = join(createFolder(), 'inferometer.yaml');
  writeFileSync(path, text);
  return loadConfig({ path, env, nowMs: NOW_MS });
}

export function loadValid(text: string, env: Readonly<Record<string, string>> = {}): Config {
  const result = loadText(text, env);
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  return result.config;
}

/** `line path: message` of every problem; empty for a valid file. */
export function problemsOf(text: string, env: Readonly<Record<string, string>> = {}): readonly string[] {
  const result = loadText(text, env);
  return result.ok ? [] : result.problems.map(({ line, path, message }) => `${line} ${path}: ${message}`);
}

/** `path: message` of every warning of a valid file. */
export function warningsOf(text: string): readonly string[] {
  const result = loadText(text);
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  return result.warnings.map(({ path, message }) => `${path}: ${message}`);
}
