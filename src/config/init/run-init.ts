// The command `init`: probes a running engine, writes a config that works and a first team's key, and says how to try it.
// Recognising engines is probe-engine.ts's, the text of the file render-config.ts's, what is said about it render-answer.ts's.
import { randomBytes } from 'node:crypto';
import { existsSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { Environment } from '../interpolate.ts';
import { loadConfig } from '../load-config.ts';
import { formatProblem } from '../problem.ts';
import { deploymentSchema, priceSchema } from '../schema-deployments.ts';
import { createPlainDraft, type DeploymentDraft, parseBaseUrl, type UpstreamDraft } from './draft-deployment.ts';
import { makeFolder } from './make-folder.ts';
import { probeEngine } from './probe-engine.ts';
import { type LitellmImport, readLitellmConfig } from './read-litellm.ts';
import { type FoundEngine, noteLeftOut, renderJson, renderText } from './render-answer.ts';
import { renderConfig } from './render-config.ts';

/** Options as the command line has them, numbers as text. `path`: the file to write. */
export interface InitOptions {
  readonly upstream: string;
  readonly gpu: string;
  readonly gpus: string | number;
  readonly usdPerGpuHour: string | number;
  readonly path: string;
  readonly force?: boolean;
  readonly fromLitellm?: string;
  readonly json?: boolean;
  /** `UPSTREAM_API_KEY` is the key that the engine wants, if any. */
  readonly env?: Environment;
  readonly out?: (text: string) => void;
  readonly err?: (text: string) => void;
  /** Epoch milliseconds; for tests. */
  readonly nowMs?: number;
  readonly probeTimeoutMs?: number;
}

/** 0 written, 1 it failed, 2 bad usage. */
export type InitExitCode = 0 | 1 | 2;

const TEAM = 'first-team';
const PROBE_TIMEOUT_MS = 5000;

/** What is wrong and the exit code that goes with it. */
interface Failure {
  readonly exitCode: 1 | 2;
  readonly message: string;
}

/** Never overwrites without `force`; on any failure nothing is left behind and stderr has one line. */
export async function runInit(options: InitOptions): Promise<InitExitCode> {
  const out = options.out ?? ((text: string) => void process.stdout.write(text));
  const err = options.err ?? ((text: string) => void process.stderr.write(text));
  const fail = ({ exitCode, message }: Failure): InitExitCode => {
    err(`inferometer init: ${message}\n`);
    return exitCode;
  };
  const url = parseBaseUrl(options.upstream);
  const refusal = url === undefined ? badUrl(options.upstream) : (checkOptions(options) ?? checkTarget(options));
  if (url === undefined || refusal !== undefined) return fail(refusal ?? badUrl(options.upstream));
  const imported = readImport(options.fromLitellm);
  if ('exitCode' in imported) return fail(imported);
  const apiKey = options.env?.['UPSTREAM_API_KEY'] ?? '';
  // What HTTP itself says to such a value quotes it.
  if (!/^[\x21-\x7e]*$/.test(apiKey))
    return fail({ exitCode: 2, message: 'UPSTREAM_API_KEY: expected a key without spaces or control characters.' });
  const probe = await probeEngine({ url, apiKey, timeoutMs: options.probeTimeoutMs ?? PROBE_TIMEOUT_MS });
  if (!probe.ok) return fail({ exitCode: 1, message: `${probe.reason}.` });
  const deployments = joinDrafts({ url, probe, apiKey, imported });
  const written = writeFiles(options, { url, probe, apiKey, imported, deployments });
  if ('exitCode' in written) return fail(written);
  const { path, env } = options;
  const variables = Object.keys(placeholders(deployments)).filter((name) => env?.[name] === undefined);
  const key = { team: TEAM, text: written.key, path: keyPath(path) };
  out((options.json === true ? renderJson : renderText)({ url, path, probe, deployments, variables, key }));
  return 0;
}

/** What may hold a password is not quoted back. */
function badUrl(upstream: string): Failure {
  const message = '--upstream must be a URL such as http://127.0.0.1:8000';
  return /[@?#]/.test(upstream)
    ? { exitCode: 2, message: `${message}, without user, query and fragment; a key goes into UPSTREAM_API_KEY.` }
    : { exitCode: 2, message: `${message}, not ${JSON.stringify(upstream)}.` };
}

function checkOptions(options: InitOptions): Failure | undefined {
  const values = {
    gpu: options.gpu,
    gpusPerReplica: String(options.gpus),
    usdPerGpuHour: String(options.usdPerGpuHour),
  };
  const price = priceSchema.safeParse({ name: 'main', gpu: values.gpu, usdPerGpuHour: values.usdPerGpuHour });
  const deployment = deploymentSchema.safeParse({
    name: 'main',
    models: ['main'],
    engine: 'openai',
    gpu: values.gpu,
    gpusPerReplica: values.gpusPerReplica,
    upstreams: [{ url: options.upstream }],
  });
  const flags: Readonly<Record<string, string>> = {
    gpu: '--gpu',
    gpusPerReplica: '--gpus',
    usdPerGpuHour: '--usd-per-gpu-hour',
  };
  const issue = [...(price.error?.issues ?? []), ...(deployment.error?.issues ?? [])][0];
  return issue === undefined
    ? undefined
    : { exitCode: 2, message: `${flags[String(issue.path[0])] ?? 'option'}: ${issue.message}.` };
}

function readImport(path: string | undefined): LitellmImport | Failure {
  if (path === undefined) return { deployments: [], notes: [] };
  try {
    return readLitellmConfig(path);
  } catch (error) {
    return { exitCode: 2, message: `--from-litellm: ${error instanceof Error ? error.message : String(error)}.` };
  }
}

function checkTarget(options: InitOptions): Failure | undefined {
  // Renaming over a folder fails halfway, over a device it does not.
  const odd = [options.path, keyPath(options.path)].find((path) => existsSync(path) && !statSync(path).isFile());
  if (odd !== undefined) return { exitCode: 1, message: `${odd} is no file: choose another with --config FILE.` };
  const taken = [options.path, keyPath(options.path)].find((path) => existsSync(path));
  if (taken === undefined || options.force === true) return undefined;
  const elsewhere =
    taken === options.path ? 'elsewhere with --config FILE' : 'into another folder with --config FOLDER/FILE';
  return { exitCode: 1, message: `${taken} exists already: write ${elsewhere}, or overwrite it with --force.` };
}

/** The key lies beside the config, so that the config itself may be committed. */
function keyPath(path: string): string {
  return join(dirname(resolve(path)), `${TEAM}.key`);
}

function writeFiles(
  options: InitOptions,
  found: {
    readonly url: string;
    readonly probe: FoundEngine;
    readonly apiKey: string;
    readonly imported: LitellmImport;
    readonly deployments: readonly DeploymentDraft[];
  },
): { readonly key: string } | Failure {
  const { url, probe, apiKey, imported, deployments } = found;
  const key = `im-${randomBytes(24).toString('base64url')}`;
  const nowMs = options.nowMs ?? new Date().getTime();
  const render = (keyFile: string): string =>
    renderConfig({
      url,
      engine: probe.engine,
      evidence: probe.evidence,
      deployments,
      languageModels: probe.languageModels,
      notes: [...noteLeftOut(probe), ...imported.notes],
      gpu: options.gpu,
      gpus: String(options.gpus),
      usdPerGpuHour: String(options.usdPerGpuHour),
      priceFrom: new Date(nowMs).toISOString().slice(0, 10),
      team: TEAM,
      keyFile,
    });
  // Of this process alone: a file that happens to have a draft's name is somebody's own.
  const suffix = `.${process.pid}.draft`;
  const draft = { config: `${resolve(options.path)}${suffix}`, key: `${keyPath(options.path)}${suffix}` };
  try {
    makeFolder(dirname(resolve(options.path)));
    writeFileSync(draft.key, `${key}\n`, { mode: 0o600 });
    writeFileSync(draft.config, render(basename(draft.key)));
    const checked = loadConfig({
      path: draft.config,
      env: { ...placeholders(deployments), UPSTREAM_API_KEY: apiKey },
      nowMs,
    });
    if (!checked.ok) return { exitCode: 1, message: checked.problems.map(formatProblem).join('; ') };
    writeFileSync(draft.config, render(basename(keyPath(options.path))));
    renameSync(draft.key, keyPath(options.path));
    renameSync(draft.config, resolve(options.path));
    return { key };
  } catch (err) {
    return {
      exitCode: 1,
      message: `cannot write ${options.path}: ${err instanceof Error ? err.message : String(err)}`,
    };
  } finally {
    for (const path of [draft.config, draft.key]) if (existsSync(path)) rmSync(path);
  }
}

/** What was imported, with the probed engine's true kind, and the probed models that nothing imported serves. */
function joinDrafts({
  url,
  probe,
  apiKey,
  imported,
}: {
  readonly url: string;
  readonly probe: FoundEngine;
  readonly apiKey: string;
  readonly imported: LitellmImport;
}): readonly DeploymentDraft[] {
  const upstream: UpstreamDraft = { url, keyVariable: apiKey === '' ? null : 'UPSTREAM_API_KEY' };
  const known = imported.deployments.map((draft) =>
    draft.upstreams.every((other) => other.url === url) ? { ...draft, engine: probe.engine } : draft,
  );
  const served = known.filter(({ upstreams }) => upstreams.some((other) => other.url === url));
  const isKnown = (model: string): boolean => served.some(({ servedModel }) => servedModel === model);
  return [
    ...known,
    ...probe.models.filter((model) => !isKnown(model)).map((model) => createPlainDraft(probe.engine, model, upstream)),
  ];
}

/** Values for the variables of the draft, so that it can be checked before they are set. */
function placeholders(deployments: readonly DeploymentDraft[]): Record<string, string> {
  const values: Record<string, string> = {};
  for (const { upstreams } of deployments) {
    for (const { url, keyVariable } of upstreams) {
      const variable = /^\$\{(\w+)\}$/.exec(url)?.[1];
      if (variable !== undefined) values[variable] ??= `http://127.0.0.1:${Object.keys(values).length + 1}`;
      if (keyVariable !== null) values[keyVariable] = 'placeholder-of-a-key';
    }
  }
  return values;
}
