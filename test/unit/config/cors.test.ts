import { expect, test } from 'vitest';
import { loadValid, MINIMAL, problemsOf } from './config-file.ts';

const withCors = (cors: string): string => `${MINIMAL}server: { cors: ${cors} }\n`;

test('origins alone allow every header a browser asks for, and a preflight holds for ten minutes', () => {
  expect(loadValid(withCors('{ origins: ["https://app.example", "http://localhost:3000"] }')).server.cors).toEqual({
    origins: ['https://app.example', 'http://localhost:3000'],
    headers: ['*'],
    maxAgeMs: 600_000,
  });
});

test('headers and the age of a preflight can be given', () => {
  const text = withCors('{ origins: ["*"], headers: [authorization, content-type], maxAge: 1h }');
  expect(loadValid(text).server.cors).toEqual({
    origins: ['*'],
    headers: ['authorization', 'content-type'],
    maxAgeMs: 3_600_000,
  });
});

test.each([
  ['no origins', '{}'],
  ['an empty list of origins', '{ origins: [] }'],
  ['an origin with a path', '{ origins: ["https://app.example/x"] }'],
  ['an origin without a scheme', '{ origins: [app.example] }'],
  ['a header that is no name', '{ origins: ["*"], headers: ["a b"] }'],
  ['an age of two days', '{ origins: ["*"], maxAge: 2d }'],
  ['an unknown key', '{ origins: ["*"], credentials: true }'],
])('%s is refused at its path', (_what, cors) => {
  expect(problemsOf(withCors(cors))).toEqual([expect.stringContaining('server.cors')]);
});
