// YAML side of `tenancy` and of one team. Uniqueness of keys and names is check-config.ts's.
import type { z } from 'zod';
import { dollars, gpuMillionths, integer, oneOf, secret, text } from './schema-leaf.ts';
import { list, mapping, section, sectionWithDefaults } from './schema-section.ts';

/** Shortest static key that is accepted (contract §3). */
export const KEY_LENGTH_MIN = 16;

const TEAM_EXPECTED = 'a team name without control characters, not starting with "(", at most 128 long';
const TEAM_PATTERN = /^(?![(\s])[^\p{C}]{0,127}[^\p{C}\s]$/u;
const teamName = () => text({ pattern: TEAM_PATTERN, expected: TEAM_EXPECTED });
const teamNameOrEmpty = () => text({ pattern: new RegExp(`^$|${TEAM_PATTERN.source}`, 'u'), expected: TEAM_EXPECTED });
const label = () =>
  text({ pattern: /^[^\p{C}]{0,256}$/u, expected: 'at most 256 characters without control characters' });

export const tenancySchema = sectionWithDefaults({
  authentication: list(oneOf(['keys', 'jwt', 'header'])).default(['keys']),
  header: sectionWithDefaults({
    name: text({ pattern: /^[\w!#$%&'*+.^`|~-]{1,128}$/, expected: 'the name of a header' }).default('x-team'),
    trustedProxies: list(text({ expected: 'an address or a CIDR range' })).default(['127.0.0.0/8', '::1']),
  }),
  anonymous: teamNameOrEmpty().default(''),
});

const key = section({
  key: secret({
    pattern: new RegExp(`^[\\x21-\\x7e]{${KEY_LENGTH_MIN},512}$`),
    expected: `a key of at least ${KEY_LENGTH_MIN} characters (at most 512), without spaces`,
  }),
  name: label().default(''),
  project: label().default(''),
  scopes: list(oneOf(['operator'])).default([]),
});

export const teamSchema = section({
  name: teamName(),
  displayName: label().default(''),
  costCenter: label().default(''),
  keys: list(key).default([]),
  reservedGpus: mapping(gpuMillionths(100_000)).default({}),
  budget: section({
    usd: dollars(1_000_000_000),
    per: oneOf(['day', 'week', 'month']).default('month'),
    timezone: text().default('UTC'),
    onExceed: oneOf(['block', 'warn']).default('block'),
  }).optional(),
  limits: section({
    requestsPerMinute: integer(1, 2 ** 31 - 1).optional(),
    tokensPerMinute: integer(1, 2 ** 40).optional(),
    concurrency: integer(1, 1_000_000).optional(),
  }).optional(),
  models: list(text({ pattern: /^\S{1,256}$/, expected: 'a glob over model names such as llama-*' })).default(['*']),
});

/** Identity settings as the schema leaves them. */
export type TenancyInput = z.output<typeof tenancySchema>;
/** One team as the schema leaves it. */
export type TeamInput = z.output<typeof teamSchema>;
