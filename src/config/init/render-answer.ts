// What `init` says once the file is written: where it is, what is still to be set, and a request to try. Prints nothing itself.
import type { DeploymentDraft } from './draft-deployment.ts';
import type { ProbeResult } from './probe-engine.ts';

export type FoundEngine = Extract<ProbeResult, { ok: true }>;

export interface InitAnswer {
  readonly url: string;
  /** The file as the user named it. */
  readonly path: string;
  readonly probe: FoundEngine;
  readonly deployments: readonly DeploymentDraft[];
  /** Those the file names and nobody has set. */
  readonly variables: readonly string[];
  /** The first team's key: shown once, and where it lies. */
  readonly key: { readonly team: string; readonly text: string; readonly path: string };
}

/** One JSON object with a final newline. */
export function renderJson({ path, probe, variables, key }: InitAnswer): string {
  const { engine, evidence, models, leftOut } = probe;
  const said = { path, engine, evidence, models, leftOut, variables };
  return `${JSON.stringify({ ok: true, ...said, team: key.team, key: key.text, keyFile: key.path })}\n`;
}

/** Text with a final newline. */
export function renderText(answer: InitAnswer): string {
  const { url, path, probe, variables, key } = answer;
  const notes = noteLeftOut(probe).map((note) => `Note: ${note}.\n`);
  const first = variables.length === 0 ? 'Start' : `Set ${variables.join(', ')}, then start`;
  return `${url} is ${probe.engine} (${probe.evidence}), models: ${probe.models.join(', ')}
${notes.join('')}Wrote ${path} and the key of team ${key.team} (${key.path}, readable by you alone):

  ${key.text}

${first} the gateway and try it:

  npx inferometer serve --config ${quoteForShell(path)}
  ${renderCall(answer)}
`;
}

/** Models that the engine lists and the file does not hold. */
export function noteLeftOut({ leftOut, models }: FoundEngine): readonly string[] {
  if (leftOut === 0) return [];
  return [
    `${leftOut} more of its models are not in the file: only ${models.length} are taken, and none whose name has spaces or other characters than ASCII`,
  ];
}

function quoteForShell(text: string): string {
  return /^[\w./:=-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** A request to try, as a shell command. */
function renderCall({ url, probe, deployments, key }: InitAnswer): string {
  const { engine, models, languageModels } = probe;
  // What was imported may have given the model another name.
  const nameOf = (served: string): string =>
    deployments.find(
      ({ servedModel, upstreams }) => servedModel === served && upstreams.some((upstream) => upstream.url === url),
    )?.models[0] ?? served;
  const curl = (path: string): string =>
    `curl ${quoteForShell(`http://127.0.0.1:8080${path}`)} -H "Authorization: Bearer ${key.text}"`;
  const send = (path: string, body: object): string =>
    `${curl(path)} \\\n       -H "content-type: application/json" -d ${quoteForShell(JSON.stringify(body))}`;
  if (engine !== 'triton') {
    const messages = [{ role: 'user', content: 'Hello' }];
    return send('/v1/chat/completions', { model: nameOf(models[0] ?? ''), messages });
  }
  const [text] = [...languageModels].filter(([, limit]) => limit !== 'request_output_len');
  if (text === undefined) return curl('/v1/models');
  const [model, limit] = text;
  return send(`/v2/models/${encodeURIComponent(nameOf(model))}/generate`, {
    text_input: 'Hello',
    ...(limit === null ? {} : { [limit]: 16 }),
  });
}
