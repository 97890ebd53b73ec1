// `inferometer calibrate`: finds the engine in the config or by its URL, measures its profile, prints it, writes it into the config if asked.
import { randomUUID } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { createBuiltinProfile } from '#attribution/builtin-profile.ts';
import type { Config, DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import { parseBaseUrl } from '#config/init/draft-deployment.ts';
import { probeEngine } from '#config/init/probe-engine.ts';
import { loadConfig } from '#config/load-config.ts';
import { formatProblem } from '#config/problem.ts';
import {
  assertProfileWritable,
  ProfileNotWrittenError,
  renderEngineProfile,
  writeEngineProfile,
  type WrittenProfile,
} from '#config/write-engine-profile.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import { ENGINE_TRAITS } from '#engines/engine-traits.ts';
import { createDispatcher } from '#gateway/upstream-dispatcher.ts';
import { type Calibration, calibrateEngine } from '../calibrate/calibrate-engine.ts';
import { type EngineLink, ProbeFailedError, ProbeRefusedError } from '../calibrate/engine-link.ts';
import {
  type CalibrationReport,
  type CalibrationSubject,
  renderCalibrationJson,
  renderCalibrationText,
} from '../calibrate/render-calibration.ts';
import { drawProgress } from './draw-progress.ts';

export interface CalibrateOptions {
  readonly path: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly deployment?: string;
  readonly upstream?: string;
  readonly url?: string;
  readonly model?: string;
  readonly engine?: string;
  readonly gpu?: string;
  readonly gpus?: number;
  readonly write: boolean;
  readonly json: boolean;
  readonly force: boolean;
  readonly seed: number;
  readonly durationMs: number;
}

/** Bad usage or config: exit 2. The message is one line for stderr. */
class UsageError extends Error {}

/** What is to be measured and how it is reached. */
interface Target {
  readonly subject: CalibrationSubject;
  readonly upstream: UpstreamConfig;
  readonly link: Pick<EngineLink, 'engine' | 'model' | 'acceptsStreamOptions' | 'mayDrainStatistics'>;
  readonly connectMs: number;
  readonly prior: EngineProfile;
  /** Place of the deployment in the file; absent without a config. */
  readonly index?: number;
  /** Why this target as such cannot be measured well. */
  readonly doubts: readonly string[];
}

const PROBE_TIMEOUT_MS = 5000;
const CONNECT_MS = 5000;
/** Of one request: a long prompt on a slow engine, and still an end. */
const REQUEST_TIMEOUT_MS = 180_000;

/** Exit code 0 done, 1 the engine was not reached or the profile is refused, 2 bad usage or config. */
export async function runCalibrate(options: CalibrateOptions): Promise<0 | 1 | 2> {
  const { out, err } = {
    out: (text: string) => void process.stdout.write(text),
    err: (text: string) => void process.stderr.write(`inferometer calibrate: ${text}\n`),
  };
  try {
    const target = options.url === undefined ? findInConfig(options) : await findByUrl(options.url, options);
    const report = await calibrate(target, options);
    const isColored = process.stdout.isTTY === true;
    out(options.json ? renderCalibrationJson(report) : renderCalibrationText(report, { color: isColored }));
    if (report.accepted) return 0;
    err(`refused: ${report.calibration.reasons[0] ?? 'no reason'}`);
    return 1;
  } catch (error) {
    if (error instanceof UsageError) {
      err(error.message);
      return 2;
    }
    const isKnown =
      error instanceof ProbeRefusedError ||
      error instanceof ProbeFailedError ||
      error instanceof ProfileNotWrittenError;
    err(isKnown ? error.message : `failed: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}

async function calibrate(target: Target, options: CalibrateOptions): Promise<CalibrationReport> {
  const { index, subject } = target;
  const place = options.write && index !== undefined ? { index, name: subject.deployment ?? '' } : undefined;
  // What cannot be written is said before a minute is spent on it.
  if (place !== undefined)
    assertProfileWritable(options.path, { ...place, profile: { ...target.prior, source: 'calibrated' }, comment: '' });
  const calibration = withDoubts(await runProbes(target, options), target.doubts);
  const { result } = calibration;
  const accepted = result !== undefined && (calibration.reasons.length === 0 || options.force);
  const written: WrittenProfile | undefined =
    result === undefined
      ? undefined
      : { ...result.profile, source: 'calibrated', fitError: Number(result.fit.residual.toFixed(4)) };
  const isWritten = accepted && place !== undefined;
  if (isWritten && written !== undefined) {
    const error = (result.fit.residual * 100).toFixed(1);
    writeEngineProfile(options.path, {
      ...place,
      profile: written,
      comment: `measured by inferometer calibrate on ${new Date().toISOString().slice(0, 10)}, fit error ${error} %`,
    });
  }
  return {
    subject: target.subject,
    calibration,
    accepted,
    configLine: written === undefined ? null : `engineProfile: ${renderEngineProfile(written)}`,
    written: isWritten ? options.path : null,
  };
}

function withDoubts(calibration: Calibration, doubts: readonly string[]): Calibration {
  return { ...calibration, reasons: [...doubts, ...calibration.reasons] };
}

async function runProbes(target: Target, options: CalibrateOptions): Promise<Calibration> {
  if (target.doubts.length > 0 && !options.force) return { route: 'completions', reasons: [], notes: [] };
  const upstream = await pinAddress(target.upstream);
  const dispatcher = createDispatcher(upstream, target.connectMs);
  const isTerminal = process.stderr.isTTY === true;
  const progress = options.json && !isTerminal ? undefined : drawProgress('calibrate', isTerminal);
  try {
    return await calibrateEngine({
      link: {
        ...target.link,
        dispatcher,
        basePath: new URL(upstream.url).pathname.replace(/\/+$/, ''),
        headers: {
          ...(upstream.apiKey === '' ? {} : { authorization: `Bearer ${upstream.apiKey}` }),
          ...upstream.headers,
        },
        // A command has no store whose time it could follow, and needs only differences.
        clock: { monotonicMs: () => performance.now() },
        requestTimeoutMs: REQUEST_TIMEOUT_MS,
      },
      prior: target.prior,
      durationMs: options.durationMs,
      seed: options.seed,
      nonce: randomUUID(),
      force: options.force,
      onProgress: (share, text) => progress?.update(share, text),
    });
  } finally {
    progress?.stop();
    await dispatcher.destroy();
  }
}

/** One of several addresses behind a name: all probes must meet the same engine. */
async function pinAddress(upstream: UpstreamConfig): Promise<UpstreamConfig> {
  if (upstream.discovery !== 'dns' || upstream.address !== undefined) return upstream;
  try {
    const { address } = await lookup(new URL(upstream.url).hostname.replace(/^\[|\]$/g, ''));
    return { ...upstream, address };
  } catch (error) {
    throw new ProbeFailedError(`the name of ${upstream.url} cannot be resolved`, error);
  }
}

function findInConfig(options: CalibrateOptions): Target {
  const { model, engine: given, gpu, gpus } = options;
  if ([model, given, gpu, gpus].some((option) => option !== undefined))
    throw new UsageError('--model, --engine, --gpu and --gpus go with --url; of the config name a --deployment');
  const loaded = loadConfig({ path: options.path, env: options.env });
  if (!loaded.ok) {
    const [first, ...more] = loaded.problems;
    const others = more.length === 0 ? '' : ` (and ${more.length} more: inferometer config check)`;
    throw new UsageError(`${first === undefined ? options.path : formatProblem(first)}${others}`);
  }
  const deployment = chooseDeployment(loaded.config, options.deployment);
  const upstream = chooseUpstream(deployment, options.upstream);
  const { engine, servedModel, name } = deployment;
  refuseKserve(engine, name);
  if (deployment.work === 'duration')
    throw new UsageError(`${name} is metered by duration (work: duration), which has no engine profile`);
  return {
    subject: { deployment: name, upstream: upstream.name, url: upstream.url, model: servedModel, engine },
    upstream,
    link: {
      engine,
      model: servedModel,
      acceptsStreamOptions: ENGINE_TRAITS[engine].acceptsStreamOptions,
      mayDrainStatistics: deployment.engineStatistics,
    },
    connectMs: deployment.timeouts.connectMs,
    prior: createBuiltinProfile({
      gpu: deployment.gpu,
      gpus: deployment.gpuMillionths / 1_000_000,
      modelNames: [...deployment.models, servedModel, name],
    }),
    index: loaded.config.deployments.indexOf(deployment),
    doubts:
      upstream.replicas > 1
        ? [`${upstream.url} hides ${upstream.replicas} engines: give the URL of one of them with --url`]
        : [],
  };
}

function chooseDeployment({ deployments }: Config, wanted: string | undefined): DeploymentConfig {
  const names = deployments.map(({ name }) => name).join(', ');
  if (wanted === undefined) {
    const [only, ...others] = deployments;
    if (only !== undefined && others.length === 0) return only;
    throw new UsageError(`name one with --deployment: ${names}`);
  }
  const found = deployments.find(({ name }) => name === wanted);
  if (found === undefined) throw new UsageError(`there is no deployment ${wanted}; there are: ${names}`);
  return found;
}

function chooseUpstream({ upstreams, name }: DeploymentConfig, wanted: string | undefined): UpstreamConfig {
  const found = wanted === undefined ? upstreams[0] : upstreams.find((upstream) => upstream.name === wanted);
  if (found !== undefined) return found;
  throw new UsageError(`${name} has no upstream ${wanted}; it has: ${upstreams.map((one) => one.name).join(', ')}`);
}

function refuseKserve(engine: keyof typeof ENGINE_TRAITS, subject: string): void {
  if (ENGINE_TRAITS[engine].healthPath !== '/v2/health/ready') return;
  throw new UsageError(`${subject} speaks KServe; calibrate needs OpenAI's routes (engine triton-openai serves them)`);
}

async function findByUrl(written: string, options: CalibrateOptions): Promise<Target> {
  if (options.write || options.deployment !== undefined || options.upstream !== undefined)
    throw new UsageError('--url names an engine without a config: leave out --deployment, --upstream and --write');
  const url = readBaseUrl(written);
  const apiKey = options.env['UPSTREAM_API_KEY'] ?? '';
  // What HTTP itself says to such a value quotes it.
  if (!/^[\x21-\x7e]*$/.test(apiKey))
    throw new UsageError('UPSTREAM_API_KEY: expected a key without spaces or control characters');
  const named = options.engine;
  if (named !== undefined && !Object.hasOwn(ENGINE_TRAITS, named))
    throw new UsageError(`unknown engine ${named}; known: ${Object.keys(ENGINE_TRAITS).join(', ')}`);
  const found =
    named !== undefined && options.model !== undefined
      ? { ok: true as const, engine: named as keyof typeof ENGINE_TRAITS, models: [options.model] }
      : await probeEngine({ url, apiKey, timeoutMs: PROBE_TIMEOUT_MS });
  if (!found.ok) throw new ProbeFailedError(found.reason);
  const engine = (named ?? found.engine) as keyof typeof ENGINE_TRAITS;
  refuseKserve(engine, url);
  const model = options.model ?? found.models[0] ?? '';
  if (options.model === undefined && found.models.length > 1)
    throw new UsageError(`the engine serves several models, name one with --model: ${found.models.join(', ')}`);
  return {
    subject: { deployment: null, upstream: new URL(url).host, url, model, engine },
    upstream: {
      name: new URL(url).host,
      url,
      discovery: 'static',
      replicas: 1,
      pool: url,
      apiKey,
      headers: {},
      dcgm: '',
      gpus: [],
    },
    link: {
      engine,
      model,
      acceptsStreamOptions: ENGINE_TRAITS[engine].acceptsStreamOptions,
      // Without a config no gateway of ours polls this engine, and its owner has named it himself.
      mayDrainStatistics: true,
    },
    connectMs: CONNECT_MS,
    prior: createBuiltinProfile({ gpu: options.gpu ?? '', gpus: options.gpus ?? 1, modelNames: [model] }),
    doubts: [],
  };
}

function readBaseUrl(written: string): string {
  const url = parseBaseUrl(written);
  if (url !== undefined) return url;
  throw new UsageError(
    '--url: expected the base URL of an engine such as http://trt-1:8000, without user, query and fragment; a key goes into UPSTREAM_API_KEY',
  );
}
