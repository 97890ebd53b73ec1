import * as promClient from 'prom-client';
import { expect, it } from 'vitest';
import * as parts from '#observe/prometheus.ts';

it('the parts of prom-client are the classes that its index exports', () => {
  const named = new Map<string, unknown>(Object.entries(promClient));
  const classes = Object.entries(parts);
  expect(classes.map(([name]) => name)).toContain('Registry');
  for (const [name, part] of classes) expect(part, name).toBe(named.get(name));
});
