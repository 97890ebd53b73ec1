import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { TeamConfig } from '#config/config.ts';
import { createKeyLookup, createTeamCaller, renderKeyId } from '#tenancy/static-keys.ts';

const KEY = 'sk-search-0123456789';
const TEAM: TeamConfig = {
  name: 'search',
  displayName: 'Search',
  costCenter: '',
  keys: [{ key: KEY, name: 'ci', project: 'ranking' }],
  reservedGpuMillionths: {},
  models: ['llama-*'],
};

describe('static-keys', () => {
  it('a key stands for its team and project, anything else for nobody', () => {
    const lookUp = createKeyLookup([TEAM]);
    expect(lookUp(KEY)).toMatchObject({ team: 'search', project: 'ranking', models: ['llama-*'], limited: false });
    for (const wrong of ['', `${KEY} `, KEY.slice(0, -1), KEY.toUpperCase()]) expect(lookUp(wrong)).toBeUndefined();
  });

  it('the key itself is in nothing that a caller carries', () => {
    expect(inspect(createKeyLookup([TEAM])(KEY))).not.toContain(KEY);
  });

  it('the public id is stable and differs between keys', () => {
    expect(renderKeyId(KEY)).toBe(renderKeyId(KEY));
    expect(renderKeyId(KEY)).toMatch(/^k_[0-9a-f]{16}$/);
    expect(renderKeyId(`${KEY}x`)).not.toBe(renderKeyId(KEY));
  });

  it('limits and budgets make a caller limited, a star allows all models', () => {
    expect(createTeamCaller({ ...TEAM, limits: { concurrency: 1 } }).limited).toBe(true);
    expect(createTeamCaller({ ...TEAM, models: ['*'] }).models).toBeNull();
  });
});
