// Reads the shipped Grafana dashboard and answers, as Grafana would, what each panel asks Prometheus.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** One query of a panel. */
export interface Target {
  readonly refId: string;
  readonly expr: string;
  readonly instant: boolean;
  readonly datasource: unknown;
}

/** A panel in Grafana's classic JSON; rows have no targets. */
export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig: { readonly defaults: { readonly unit?: string } };
  readonly datasource: unknown;
  readonly targets: readonly Target[];
}

/** The file, as far as tests look at it. */
export interface Dashboard {
  readonly path: string;
  readonly uid: string;
  readonly id: null;
  readonly editable: boolean;
  readonly schemaVersion: number;
  readonly timezone: string;
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
  readonly panels: readonly Panel[];
}

/** The dashboard of grafana/dashboards. */
export function readDashboard(): Dashboard {
  const path = fileURLToPath(new URL('../../grafana/dashboards/inferometer.json', import.meta.url));
  return { ...(JSON.parse(readFileSync(path, 'utf8')) as Omit<Dashboard, 'path'>), path };
}

/**
 * A panel's expression with Grafana's variables filled in: every team, model and deployment, and the given ranges as
 * Prometheus durations such as `10s`. Throws if a variable is left over.
 */
export function fillVariables(
  expression: string,
  ranges: { readonly rateInterval: string; readonly range: string },
): string {
  const filled = expression
    .replaceAll(/\$(team|model|deployment)\b/g, '.+')
    .replaceAll('$__rate_interval', ranges.rateInterval)
    .replaceAll('$__range', ranges.range);
  if (filled.includes('$')) throw new Error(`unknown variable in: ${filled}`);
  return filled;
}
