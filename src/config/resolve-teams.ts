// Teams and identity from what the schema read to what the gateway asks: names filled in, addresses and zones checked.
// Uniqueness across teams stands in check-config.ts.
import ipaddr from 'ipaddr.js';
import { isTimeZone } from './calendar.ts';
import type { TeamConfig, TenancyConfig } from './config.ts';
import type { ProblemList } from './problem.ts';
import type { TeamInput, TenancyInput } from './schema-teams.ts';
import type { Entry } from './schema.ts';

/** Names that reports and metrics use for something else (contract §6 and §7). */
const RESERVED_TEAMS = new Set(['none', 'other']);

/** One team, its keys named `key-1`, `key-2`, … where they have no name. */
export function resolveTeam(entry: Entry<TeamInput>, findings: ProblemList): TeamConfig {
  const { value, index } = entry;
  if (RESERVED_TEAMS.has(value.name)) {
    findings.add(['teams', index, 'name'], `${value.name} is reserved for requests without a team`);
  }
  if (value.budget !== undefined && !isTimeZone(value.budget.timezone)) {
    findings.add(['teams', index, 'budget', 'timezone'], 'expected an IANA time zone such as Europe/Berlin');
  }
  return {
    name: value.name,
    displayName: value.displayName === '' ? value.name : value.displayName,
    costCenter: value.costCenter,
    keys: value.keys.map(({ key, name, project, scopes }, position) => ({
      key,
      name: name === '' ? `key-${position + 1}` : name,
      project,
      ...(scopes.length === 0 ? {} : { scopes }),
    })),
    reservedGpuMillionths: value.reservedGpus,
    models: value.models,
    ...resolveLimits(value),
  };
}

function resolveLimits({ budget, limits }: TeamInput): Pick<TeamConfig, 'budget' | 'limits'> {
  const given = Object.fromEntries(Object.entries(limits ?? {}).filter(([, limit]) => limit !== undefined));
  return {
    ...(budget === undefined
      ? {}
      : {
          budget: {
            limitNanoUsd: budget.usd,
            period: budget.per,
            timezone: budget.timezone,
            onExceed: budget.onExceed,
          },
        }),
    ...(Object.keys(given).length === 0 ? {} : { limits: given }),
  };
}

/** Identity settings, the header's name in lower case. */
export function resolveTenancy(tenancy: TenancyInput, findings: ProblemList): TenancyConfig {
  for (const [index, proxy] of tenancy.header.trustedProxies.entries()) {
    if (!isAddressRange(proxy)) {
      findings.add(
        ['tenancy', 'header', 'trustedProxies', index],
        'expected an address or a CIDR range such as 10.0.0.0/8',
      );
    }
  }
  for (const [index, method] of tenancy.authentication.entries()) {
    if (tenancy.authentication.indexOf(method) < index) {
      findings.add(['tenancy', 'authentication', index], `${method} stands in this list twice`);
    }
  }
  const name = tenancy.header.name.toLowerCase();
  if (['authorization', 'x-api-key', 'host', 'cookie', 'content-type', 'content-length'].includes(name)) {
    findings.add(['tenancy', 'header', 'name'], `${name} has another meaning already: choose a header of its own`);
  }
  if (RESERVED_TEAMS.has(tenancy.anonymous)) {
    findings.add(
      ['tenancy', 'anonymous'],
      `${tenancy.anonymous} is reserved for requests without a team: name a team, or leave it empty to answer them with 401`,
    );
  }
  return {
    authentication: tenancy.authentication,
    header: { name, trustedProxies: tenancy.header.trustedProxies },
    anonymous: tenancy.anonymous,
  };
}

/** Spellings that mean another address than they seem to are none: 10/8 is 0.0.0.10/8 to a parser, 010.0.0.1 is 8.0.0.1. */
function isAddressRange(text: string): boolean {
  if (!text.includes(':') && !ipaddr.IPv4.isValidFourPartDecimal(text.replace(/\/.*$/, ''))) return false;
  if (!text.includes('/')) return ipaddr.isValid(text);
  try {
    ipaddr.parseCIDR(text);
    return true;
  } catch {
    return false;
  }
}
