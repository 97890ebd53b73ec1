// `--config FILE` (or INFEROMETER_CONFIG), which every command has. Reading the file is config's.
import { Option } from 'commander';

const DEFAULT_CONFIG = 'config/inferometer.yaml';

/** A new option for one command. */
export function configOption(): Option {
  return new Option('--config <file>', 'configuration file').env('INFEROMETER_CONFIG').default(DEFAULT_CONFIG);
}
