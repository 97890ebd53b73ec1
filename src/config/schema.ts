// The schema of the whole file: its sections, and how a tree is read against them so that one broken entry of a list
// hides nothing about the others. The keys themselves stand in schema-gateway.ts, schema-deployments.ts, schema-teams.ts.
import type { z } from 'zod';
import type { ConfigPath, ProblemList } from './problem.ts';
import { deploymentSchema, priceSchema } from './schema-deployments.ts';
import type { DeploymentInput, PriceInput } from './schema-deployments.ts';
import * as gateway from './schema-gateway.ts';
import { ALREADY_REPORTED } from './schema-leaf.ts';
import { describeUnknownKey } from './schema-section.ts';
import { teamSchema, tenancySchema } from './schema-teams.ts';
import type { TeamInput, TenancyInput } from './schema-teams.ts';

/** Sections that are read as a whole. */
const SECTIONS = {
  server: gateway.serverSchema,
  grpc: gateway.grpcSchema,
  admin: gateway.adminSchema,
  store: gateway.storeSchema,
  journal: gateway.journalSchema,
  settlement: gateway.settlementSchema,
  retention: gateway.retentionSchema,
  logging: gateway.loggingSchema,
  privacy: gateway.privacySchema,
  tenancy: tenancySchema,
  finance: gateway.financeSchema,
  watch: gateway.watchSchema,
} as const;

/** Sections that are lists of entries, each read by itself. */
const LISTS = { prices: priceSchema, deployments: deploymentSchema, teams: teamSchema } as const;

const KNOWN_KEYS = [...Object.keys(SECTIONS), ...Object.keys(LISTS)];

/** An entry of a list with its position in the file. */
export interface Entry<Value> {
  readonly index: number;
  readonly value: Value;
}

type SectionOutputs = { readonly [Name in keyof typeof SECTIONS]: z.output<(typeof SECTIONS)[Name]> | undefined };

/** What could be read; a section with a problem is undefined, an entry with one is left out. */
export interface SchemaOutput extends SectionOutputs {
  readonly tenancy: TenancyInput | undefined;
  readonly prices: readonly Entry<PriceInput>[];
  readonly deployments: readonly Entry<DeploymentInput>[];
  readonly teams: readonly Entry<TeamInput>[];
}

/** Reads `tree` against the schema. Every violation goes to `findings` with its path. */
export function readSections(tree: unknown, findings: ProblemList): SchemaOutput {
  const root = asMapping(tree, findings);
  for (const key of Object.keys(root)) {
    if (!KNOWN_KEYS.includes(key)) findings.add([key], describeUnknownKey(key, KNOWN_KEYS));
  }
  const read = <Schema extends z.ZodType>(key: string, schema: Schema): z.output<Schema> | undefined =>
    readValue(schema, root[key], { path: [key], findings })?.value;
  return {
    server: read('server', SECTIONS.server),
    grpc: read('grpc', SECTIONS.grpc),
    admin: read('admin', SECTIONS.admin),
    store: read('store', SECTIONS.store),
    journal: read('journal', SECTIONS.journal),
    settlement: read('settlement', SECTIONS.settlement),
    retention: read('retention', SECTIONS.retention),
    logging: read('logging', SECTIONS.logging),
    privacy: read('privacy', SECTIONS.privacy),
    tenancy: read('tenancy', SECTIONS.tenancy),
    finance: read('finance', SECTIONS.finance),
    watch: read('watch', SECTIONS.watch),
    prices: readList(LISTS.prices, root['prices'], { path: ['prices'], findings }),
    deployments: readList(LISTS.deployments, root['deployments'], { path: ['deployments'], findings }),
    teams: readList(LISTS.teams, root['teams'], { path: ['teams'], findings }),
  };
}

interface Place {
  readonly path: ConfigPath;
  readonly findings: ProblemList;
}

function asMapping(tree: unknown, findings: ProblemList): Readonly<Record<string, unknown>> {
  if (tree === undefined || tree === null) return {};
  if (typeof tree === 'object' && !Array.isArray(tree)) return tree as Record<string, unknown>;
  findings.add([], `expected a mapping with the keys ${KNOWN_KEYS.join(', ')}`);
  return {};
}

function readList<Schema extends z.ZodType>(
  schema: Schema,
  raw: unknown,
  place: Place,
): readonly Entry<z.output<Schema>>[] {
  if (raw === undefined) return [];
  if (!Array.isArray(raw)) {
    place.findings.add(place.path, 'expected a list');
    return [];
  }
  return raw.flatMap((item: unknown, index) => {
    const read = readValue(schema, item, { path: [...place.path, index], findings: place.findings });
    return read === undefined ? [] : [{ index, value: read.value }];
  });
}

function readValue<Schema extends z.ZodType>(
  schema: Schema,
  raw: unknown,
  place: Place,
): { readonly value: z.output<Schema> } | undefined {
  const result = schema.safeParse(raw);
  if (result.success) return { value: result.data };
  for (const issue of result.error.issues) reportIssue(issue, place);
  return undefined;
}

function reportIssue(issue: z.core.$ZodIssue, place: Place): void {
  const path = [...place.path, ...issue.path.map((part) => (typeof part === 'number' ? part : String(part)))];
  if (issue.code === 'unrecognized_keys') {
    const messages = issue.message.split('\n');
    for (const [position, key] of issue.keys.entries()) {
      place.findings.add([...path, key], messages[position] ?? issue.message);
    }
  } else if (issue.code === 'invalid_union') {
    reportUnion(issue, { path, findings: place.findings });
  } else if (issue.message !== ALREADY_REPORTED) {
    place.findings.add(path, issue.message);
  }
}

/** Of a union's alternatives the one that got deepest into the value is what the author meant. */
function reportUnion(issue: z.core.$ZodIssueInvalidUnion, place: Place): void {
  if (issue.errors.some((issues) => issues.some(({ message }) => message === ALREADY_REPORTED))) return;
  const deepest = issue.errors.find((issues) => issues.some(({ path }) => path.length > 0));
  if (deepest === undefined) place.findings.add(place.path, issue.message);
  else for (const inner of deepest) reportIssue(inner, place);
}
