// From the configured path to the files of one tokenizer: a folder, a tokenizer.json, or a model in a mounted Hugging Face cache.
// Local files only; what stands in them is load-tokenizer.ts's.
import { type Stats, readFileSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { TokenizerError } from './tokenizer-error.ts';

/** Absolute or relative as the path was; null where there is no such file. */
export interface TokenizerFiles {
  readonly tokenizer: string;
  /** Special tokens by role, and the chat template of older models. */
  readonly config: string | null;
  /** `chat_template.jinja`, which newer models keep apart; it goes before the one in `config`. */
  readonly chatTemplate: string | null;
}

const REVISION = /^[\w.-]{1,128}$/;
const REVISION_BYTES_MAX = 256;

/**
 * Finds the files. A folder must hold `tokenizer.json`, or be a cache entry `models--org--name` whose `refs/main` (without it: whose only
 * snapshot) says which revision counts. Throws TokenizerError.
 */
export function locateTokenizer(path: string): TokenizerFiles {
  const found = readStats(path);
  if (found === null) throw new TokenizerError(path, 'there is no such file or folder');
  if (found.isFile()) {
    if (!path.endsWith('.json')) throw new TokenizerError(path, 'expected a tokenizer.json, or the folder of one');
    return listFiles(dirname(path), basename(path));
  }
  const folder = isFile(join(path, 'tokenizer.json')) ? path : resolveSnapshot(path);
  if (!isFile(join(folder, 'tokenizer.json'))) throw new TokenizerError(path, explainMissing(folder));
  return listFiles(folder, 'tokenizer.json');
}

function listFiles(folder: string, tokenizer: string): TokenizerFiles {
  const config = join(folder, 'tokenizer_config.json');
  const chatTemplate = join(folder, 'chat_template.jinja');
  return {
    tokenizer: join(folder, tokenizer),
    config: isFile(config) ? config : null,
    chatTemplate: isFile(chatTemplate) ? chatTemplate : null,
  };
}

/** Layout of the cache: `refs/<branch>` holds a commit, `snapshots/<commit>` its files (as links into `blobs`). */
function resolveSnapshot(path: string): string {
  const snapshots = join(path, 'snapshots');
  if (!isFolder(snapshots)) return path;
  const ref = join(path, 'refs', 'main');
  const refStats = readStats(ref);
  if (refStats?.isFile() === true && refStats.size <= REVISION_BYTES_MAX) {
    const revision = readFileSync(ref, 'utf8').trim();
    if (!REVISION.test(revision) || /^\.+$/.test(revision)) {
      throw new TokenizerError(path, 'refs/main holds no revision');
    }
    const snapshot = join(snapshots, revision);
    if (!isFolder(snapshot)) {
      throw new TokenizerError(path, `refs/main names revision ${revision}, which is not among the snapshots`);
    }
    return snapshot;
  }
  const revisions = readdirSync(snapshots).filter((name) => isFolder(join(snapshots, name)));
  const [only] = revisions;
  if (only === undefined || revisions.length > 1) {
    throw new TokenizerError(
      path,
      `there is no refs/main, and ${revisions.length} snapshots to choose from: name one of them`,
    );
  }
  return join(snapshots, only);
}

function explainMissing(folder: string): string {
  const other = ['tokenizer.model', 'tekken.json', 'vocab.json'].find((name) => isFile(join(folder, name)));
  if (other === undefined) {
    return `expected tokenizer.json in ${folder}, or a cache entry models--org--name with snapshots`;
  }
  return `${folder} has ${other} but no tokenizer.json: save it with the fast tokenizer of transformers`;
}

function isFile(path: string): boolean {
  return readStats(path)?.isFile() === true;
}

function isFolder(path: string): boolean {
  return readStats(path)?.isDirectory() === true;
}

function readStats(path: string): Stats | null {
  try {
    return statSync(path);
  } catch {
    // Missing and unreadable are one thing here: reading the file says which, with the system's code.
    return null;
  }
}
