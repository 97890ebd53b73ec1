// The config file after `calibrate --write`: the profile is in it, everything else is as it was.
import {
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  lstatSync,
  readdirSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '#config/load-config.ts';
import { insertEngineProfile, ProfileNotWrittenError, writeEngineProfile } from '#config/write-engine-profile.ts';

const PROFILE = {
  iterationMs: 7.199,
  prefillTokenMs: 0.0217,
  prefillContextMs: 1.362e-6,
  decodeStepMs: 0.03008,
  contextTokenMs: 5.978e-5,
};
const edit = (name: string, index: number) => ({ name, index, profile: PROFILE, comment: 'measured on 2026-11-23' });

const FILE = `# our gateway
store:   { url: "sqlite:data/a.db" }   # odd   spacing
prices: [{ name: p, gpu: H100-SXM, usdPerGpuHour: 2.50 }]
deployments:
  - name: first     # the small one
    models: [a]
    engine: vllm
    gpu: H100-SXM
    # where it lives
    upstreams:
      - { url: http://one:8000 }
  - { name: second, models: [b], engine: vllm, gpu: H100-SXM, upstreams: [{ url: http://two:8000 }] }
  - name: "third"
    models: [c]
    engine: vllm
    gpu: H100-SXM
    engineProfile:
      iterationMs: 12   # guessed
      prefillTokenMs: 0.03
      decodeStepMs: 0.04

      contextTokenMs: 0.000017
    upstreams: [{ url: http://three:8000 }]
  - { name: fourth, models: [d], engine: vllm, gpu: H100-SXM, engineProfile: { iterationMs: 1, prefillTokenMs: 2, decodeStepMs: 3, contextTokenMs: 4 }, upstreams: [{ url: http://four:8000 }] }
  - upstreams: [{ url: "http://five:8000" }]
    name: \${FIFTH:-fifth}
    models: [e]
    engine: vllm
    gpu: H100-SXM
# the end
`;
const NAMES = ['first', 'second', 'third', 'fourth', 'fifth'];

describe('insertEngineProfile', () => {
  it('writes into every layout, and the file reads as before but for the profile', () => {
    for (const [index, name] of NAMES.entries()) {
      const edited = insertEngineProfile(FILE, edit(name, index));
      const expected = parse(FILE) as { deployments: Record<string, unknown>[] };
      (expected.deployments[index] as Record<string, unknown>)['engineProfile'] = PROFILE;
      expect(parse(edited), name).toEqual(expected);
    }
  });

  it('comments, spacing and order of all other lines stay', () => {
    for (const [index, name] of NAMES.entries()) {
      const after = insertEngineProfile(FILE, edit(name, index)).split('\n');
      const before = FILE.split('\n');
      const kept = before.filter((line) => after.includes(line));
      // Five numbers are five lines at most, one of them in the layout with a line each.
      expect(before.length - kept.length, name).toBeLessThanOrEqual(4);
      for (const comment of [
        '# our gateway',
        '# odd   spacing',
        '# the small one',
        '    # where it lives',
        '# guessed',
        '# the end',
      ])
        expect(after.join('\n'), name).toContain(comment);
    }
  });

  it('a second calibration replaces the first', () => {
    const once = insertEngineProfile(FILE, edit('first', 0));
    const twice = insertEngineProfile(once, { ...edit('first', 0), profile: { ...PROFILE, iterationMs: 8 } });
    expect(twice.match(/engineProfile/g)?.length).toBe(once.match(/engineProfile/g)?.length);
    expect(parse(twice).deployments[0].engineProfile).toEqual({ ...PROFILE, iterationMs: 8 });
  });

  it('a measured profile is told from a declared one, in every layout, and the terms are the same', () => {
    const measured = { ...PROFILE, source: 'calibrated' as const, fitError: 0.0125 };
    for (const [index, name] of NAMES.entries()) {
      const edited = insertEngineProfile(FILE, { ...edit(name, index), profile: measured });
      const loaded = parse(edited).deployments[index].engineProfile;
      expect(loaded, name).toEqual(measured);
      const again = insertEngineProfile(edited, { ...edit(name, index), profile: { ...measured, fitError: 0.5 } });
      expect(parse(again).deployments[index].engineProfile, name).toEqual({ ...measured, fitError: 0.5 });
    }
  });

  it('terms that are fixed stay fixed when they are measured again', () => {
    const fixed = FILE.replace('iterationMs: 1,', 'fixed: true, iterationMs: 1,');
    expect(parse(insertEngineProfile(fixed, edit('fourth', 3))).deployments[3].engineProfile).toEqual({
      ...PROFILE,
      fixed: true,
    });
  });

  it('what stands elsewhere, has changed, or is shared is refused', () => {
    expect(() => insertEngineProfile(FILE, edit('second', 0))).toThrow(ProfileNotWrittenError);
    expect(() => insertEngineProfile(FILE, edit('sixth', 5))).toThrow(ProfileNotWrittenError);
    const aliased = 'deployments:\n  - &a { name: x, upstreams: [] }\n  - *a\n';
    expect(() => insertEngineProfile(aliased, edit('x', 1))).toThrow(ProfileNotWrittenError);
    const sharedProfile =
      'p: &p { iterationMs: 1 }\ndeployments:\n  - { name: x, engineProfile: *p, upstreams: [] }\n  - { name: y, upstreams: [] }\n';
    expect(() => insertEngineProfile(sharedProfile, edit('x', 0))).toThrow(/alias/);
    const anchored =
      'deployments:\n  - { name: x, engineProfile: &p { iterationMs: 1 }, upstreams: [] }\n  - { name: y, engineProfile: *p, upstreams: [] }\n';
    expect(() => insertEngineProfile(anchored, edit('x', 0))).toThrow(/changing more/);
  });
});

describe('writeEngineProfile', () => {
  it('keeps mode and symbolic link, leaves no draft, and the loader reads the numbers', () => {
    const dir = mkdtempSync(join(tmpdir(), 'inferometer-profile-'));
    try {
      const path = join(dir, 'real.yaml');
      const link = join(dir, 'link.yaml');
      writeFileSync(path, FILE, { mode: 0o640 });
      symlinkSync(path, link);
      for (const [index, name] of NAMES.entries()) writeEngineProfile(link, edit(name, index));
      expect(lstatSync(link).isSymbolicLink()).toBe(true);
      expect(statSync(path).mode & 0o777).toBe(0o640);
      expect(readdirSync(dir).toSorted()).toEqual(['link.yaml', 'real.yaml']);
      expect(readFileSync(path, 'utf8')).toContain('# measured on 2026-11-23');
      const loaded = loadConfig({ path, env: {} });
      if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
      for (const deployment of loaded.config.deployments) expect(deployment.engineProfile).toEqual(PROFILE);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
