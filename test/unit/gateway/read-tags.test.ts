import { describe, expect, it } from 'vitest';
import { parseTags } from '#gateway/read-tags.ts';

describe('read-tags', () => {
  it.each([
    [undefined, {}],
    ['', {}],
    ['feature=autocomplete', { feature: 'autocomplete' }],
    ['a=1, b.c_d-e=x%20y%2Cz', { a: '1', 'b.c_d-e': 'x y,z' }],
    ['k=', { k: '' }],
    ['k=a=b', { k: 'a=b' }],
  ])('%s is read', (header, tags) => {
    expect(parseTags(header)).toEqual(tags);
  });

  it.each([
    '=x',
    'x',
    'A=1',
    'a=%zz',
    'a=%ff',
    // UTF-8 as it arrives where the sender did not encode it.
    `a=${Buffer.from('é').toString('latin1')}`,
    'a=1,a=2',
    `${'k'.repeat(33)}=1`,
    `a=${'x'.repeat(129)}`,
    `a=${'%C3%A9'.repeat(65)}`,
    'a=1,',
    'a=1,b=1,c=1,d=1,e=1,f=1',
  ])('%s is refused', (header) => {
    expect(() => parseTags(header)).toThrow(expect.objectContaining({ code: 'invalid_tags' }));
  });
});
