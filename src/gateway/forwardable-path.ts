// Which paths may be forwarded unread: those a deployment's globs name, and never one that controls an engine.

/**
 * Path segments that load, unload, drain, profile, update or stop an engine, or bypass its accounting (upstreams.md §1.1, §5, §8.3).
 * Wherever one stands, the path is refused, whatever the globs say.
 */
const CONTROL_SEGMENTS = new Set([
  'load',
  'unload',
  'load_model',
  'unload_model',
  'load_lora_adapter',
  'unload_lora_adapter',
  'start_profile',
  'stop_profile',
  'update_weights',
  'update_weights_from_disk',
  'update_weights_from_distributed',
  'update_weights_from_tensor',
  'init_weights_update_group',
  'release_memory',
  'release_memory_occupation',
  'resume_memory',
  'resume_memory_occupation',
  'sleep',
  'wake_up',
  'is_sleeping',
  'pause',
  'resume',
  'collective_rpc',
  'reset_prefix_cache',
  'reset_mm_cache',
  'flush_cache',
  'abort_request',
  'kv_cache_events',
  'kv_cache_hints',
  '_resource_governor',
  '_internal',
  'invocations',
  'busy_threshold',
  'server_info',
  'perf_metrics',
  'energy_metrics',
  'metrics',
  'health_generate',
  'steady_clock_offset',
  'shutdown',
]);

/** Characters that let one path look like another to the next server. */
const SUSPICIOUS = /\/\/|\/\.{1,2}(?:\/|$)|[\\;\s\p{Cc}]/u;

/** The path as globs see it, decoded once; null for a path that must not be forwarded under any glob. */
export function readForwardablePath(path: string): string | null {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    return null;
  }
  if (SUSPICIOUS.test(decoded) || decoded.includes('%') || /%2f/i.test(path)) return null;
  const controls = decoded
    .toLowerCase()
    .split('/')
    .some((segment) => CONTROL_SEGMENTS.has(segment));
  return controls ? null : decoded;
}

/** Compiles path globs: `*` stands for any characters, slashes included; everything else for itself. */
export function createPathFilter(globs: readonly string[]): (path: string) => boolean {
  const patterns = globs.map((glob) => {
    const source = glob.replace(/[.+?^${}()|[\]\\]/g, String.raw`\$&`).replace(/\*+/g, '.*');
    return new RegExp(`^${source}$`, 's');
  });
  return (path) => patterns.some((pattern) => pattern.test(path));
}
