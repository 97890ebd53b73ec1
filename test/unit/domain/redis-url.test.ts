import { describe, expect, test } from 'vitest';
import { describeRedisUrl, parseRedisUrl } from '#domain/redis-url.ts';

describe('parseRedisUrl', () => {
  test('one server with everything', () => {
    expect(parseRedisUrl('rediss://gate:p%40ss@redis.example:6380/3')).toEqual({
      kind: 'server',
      tls: true,
      username: 'gate',
      password: 'p@ss',
      hosts: [{ host: 'redis.example', port: 6380 }],
      master: null,
      db: 3,
    });
  });

  test('what is left out has its usual value', () => {
    expect(parseRedisUrl('redis://[::1]')).toMatchObject({ hosts: [{ host: '::1', port: 6379 }], db: 0, tls: false });
    expect(parseRedisUrl('redis://:secret@h')).toMatchObject({ username: null, password: 'secret' });
  });

  test('sentinels name their master, a cluster lists its nodes', () => {
    expect(parseRedisUrl('redis+sentinel://a:1,b/books/2')).toMatchObject({
      kind: 'sentinel',
      hosts: [
        { host: 'a', port: 1 },
        { host: 'b', port: 26_379 },
      ],
      master: 'books',
      db: 2,
    });
    expect(parseRedisUrl('rediss+cluster://a:1,b:2')).toMatchObject({ kind: 'cluster', tls: true, master: null });
  });

  test.each([
    'http://h',
    'redis://',
    'redis://a,b',
    'redis://h:99999',
    'redis://h/x',
    'redis://h/0/1',
    'redis+sentinel://h:1',
    'redis+cluster://h/1',
    'redis://%E0%A4%A@h',
    'redis://:p@ss@h',
    'redis+cluster://:p@ss@h:1,i:2',
    'redis://h b',
  ])('%s is refused', (url) => {
    expect(parseRedisUrl(url)).toBeNull();
  });

  test('the description holds neither user nor password', () => {
    const urls = [
      'rediss://user:secret@[::1]:1/2',
      'redis+sentinel://user:secret@a:1,b:2/m/1',
      'redis+cluster://:secret@a:1',
    ];
    const described = urls.map((url) => {
      const address = parseRedisUrl(url);
      return address === null ? null : describeRedisUrl(address);
    });
    expect(described).toEqual(['rediss://[::1]:1/2', 'redis+sentinel://a:1,b:2/m/1', 'redis+cluster://a:1']);
  });
});
