// The one table of routes that steer an engine instead of using it: load and unload weights, release memory, profile, drain, pause, change
// settings, or run work past the meter. Nobody reaches them but an operator, where the deployment names the path (pass-rules).

/** One route that is never forwarded for the asking. */
export interface ControlRoute {
  /** Lower-case path segment; wherever it stands in a path, the path is control. */
  readonly segment: string;
  /** What the engine would do. */
  readonly effect: string;
  /** A path as engines have it. */
  readonly example: string;
}

/** Sources: upstreams.md §1.1 (trtllm-serve), §2.2 and §3.1 (Triton), §5 (vLLM, TGI, NIM, Dynamo), §8.3; SGLang's names beside them. */
export const CONTROL_ROUTES: readonly ControlRoute[] = [
  { segment: 'load', effect: 'loads weights, or tells load', example: '/v2/repository/models/llama/load' },
  { segment: 'unload', effect: 'unloads weights', example: '/v2/repository/models/llama/unload' },
  { segment: 'load_model', effect: 'loads weights', example: '/load_model' },
  { segment: 'unload_model', effect: 'unloads weights', example: '/unload_model' },
  { segment: 'load_lora_adapter', effect: 'loads weights', example: '/v1/load_lora_adapter' },
  { segment: 'unload_lora_adapter', effect: 'unloads weights', example: '/v1/unload_lora_adapter' },
  { segment: 'update_weights', effect: 'replaces weights', example: '/update_weights' },
  { segment: 'update_weights_from_disk', effect: 'replaces weights', example: '/update_weights_from_disk' },
  {
    segment: 'update_weights_from_distributed',
    effect: 'replaces weights',
    example: '/update_weights_from_distributed',
  },
  { segment: 'update_weights_from_tensor', effect: 'replaces weights', example: '/update_weights_from_tensor' },
  { segment: 'update_weight_version', effect: 'renames weights', example: '/update_weight_version' },
  {
    segment: 'init_weights_update_group',
    effect: 'prepares a change of weights',
    example: '/init_weights_update_group',
  },
  {
    segment: 'init_weight_transfer_engine',
    effect: 'prepares a change of weights',
    example: '/init_weight_transfer_engine',
  },
  { segment: 'get_weights_by_name', effect: 'gives weights away', example: '/get_weights_by_name' },
  { segment: 'release_memory', effect: 'frees the memory of the GPU', example: '/release_memory' },
  {
    segment: 'release_memory_occupation',
    effect: 'frees the memory of the GPU',
    example: '/release_memory_occupation',
  },
  { segment: 'resume_memory', effect: 'takes the memory of the GPU', example: '/resume_memory' },
  { segment: 'resume_memory_occupation', effect: 'takes the memory of the GPU', example: '/resume_memory_occupation' },
  { segment: 'sleep', effect: 'frees the memory of the GPU', example: '/sleep' },
  { segment: 'wake_up', effect: 'takes the memory of the GPU', example: '/wake_up' },
  { segment: 'is_sleeping', effect: 'tells the state of the engine', example: '/is_sleeping' },
  { segment: 'pause', effect: 'stops generation', example: '/pause' },
  { segment: 'resume', effect: 'starts generation', example: '/resume' },
  { segment: 'pause_generation', effect: 'stops generation', example: '/pause_generation' },
  { segment: 'continue_generation', effect: 'starts generation', example: '/continue_generation' },
  { segment: 'abort_request', effect: 'ends requests of others', example: '/abort_request' },
  { segment: 'start_profile', effect: 'profiles the engine', example: '/start_profile' },
  { segment: 'stop_profile', effect: 'profiles the engine', example: '/stop_profile' },
  { segment: 'collective_rpc', effect: 'runs code in the workers', example: '/collective_rpc' },
  { segment: 'reset_prefix_cache', effect: 'drops the cache', example: '/reset_prefix_cache' },
  { segment: 'reset_mm_cache', effect: 'drops the cache', example: '/reset_mm_cache' },
  { segment: 'reset_encoder_cache', effect: 'drops the cache', example: '/reset_encoder_cache' },
  { segment: 'flush_cache', effect: 'drops the cache', example: '/flush_cache' },
  { segment: 'clear_kv_blocks', effect: 'drops the cache', example: '/clear_kv_blocks' },
  { segment: 'kv_cache_events', effect: 'drains events of the cache', example: '/kv_cache_events' },
  { segment: 'kv_cache_hints', effect: 'steers the cache', example: '/v1/kv_cache_hints' },
  { segment: '_resource_governor', effect: 'steers resources', example: '/_resource_governor/kv_cache_hints' },
  { segment: '_internal', effect: 'belongs to the engine itself', example: '/_internal/tokenize' },
  { segment: 'invocations', effect: 'runs any request past key and meter', example: '/invocations' },
  { segment: 'scale_elastic_ep', effect: 'changes the number of GPUs', example: '/scale_elastic_ep' },
  { segment: 'busy_threshold', effect: 'changes admission', example: '/busy_threshold' },
  { segment: 'set_internal_state', effect: 'changes settings', example: '/set_internal_state' },
  { segment: 'configure_logging', effect: 'changes settings', example: '/configure_logging' },
  { segment: 'logging', effect: 'changes settings', example: '/v2/logging' },
  { segment: 'trace', effect: 'changes settings', example: '/v2/models/llama/trace/setting' },
  {
    segment: 'systemsharedmemory',
    effect: 'opens memory of the host',
    example: '/v2/systemsharedmemory/region/a/register',
  },
  { segment: 'cudasharedmemory', effect: 'opens memory of the GPU', example: '/v2/cudasharedmemory/region/a/register' },
  { segment: 'server_info', effect: 'tells the settings of the engine', example: '/server_info' },
  { segment: 'perf_metrics', effect: 'drains statistics', example: '/perf_metrics' },
  { segment: 'energy_metrics', effect: 'tells figures of all callers', example: '/energy_metrics' },
  { segment: 'metrics', effect: 'drains or tells figures of all callers', example: '/metrics' },
  { segment: 'health_generate', effect: 'generates past the meter', example: '/health_generate' },
  { segment: 'steady_clock_offset', effect: 'holds a worker', example: '/steady_clock_offset' },
  { segment: 'shutdown', effect: 'ends the engine', example: '/shutdown' },
];

const SEGMENTS: ReadonlySet<string> = new Set(CONTROL_ROUTES.map(({ segment }) => segment));

/** The scope of a key that may ask for control, where a deployment allows the path. */
export const OPERATOR_SCOPE = 'operator';

/** Whether a decoded path, in whatever case, leads to control. */
export function isControlPath(path: string): boolean {
  return path
    .toLowerCase()
    .split('/')
    .some((segment) => SEGMENTS.has(segment));
}
