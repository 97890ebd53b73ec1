// Who may talk to the admin plane: tokens, and from where a plane without a token may be reached.
import type { AdminConfig } from '#config/config.ts';
import { isLoopbackHost } from '#config/loopback.ts';
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Request } from 'express';
import { AdminError } from './admin-error.ts';

/** The admin plane would be open to a network: `serve` exits 2. */
export class AdminUnprotectedError extends Error {
  override name = 'AdminUnprotectedError';
}

/** Throws an AdminUnprotectedError where the plane leaves this machine without a token, unless `requireToken` is false. */
export function checkProtected({
  host,
  token,
  requireToken,
}: Pick<AdminConfig, 'host' | 'token' | 'requireToken'>): void {
  if (token !== '' || !requireToken || isLoopbackHost(host)) return;
  throw new AdminUnprotectedError(
    `admin.host ${host} can be reached from other machines and admin.token is empty; set a token (for example INFEROMETER_ADMIN_TOKEN), or admin.requireToken: false if something else protects it`,
  );
}

/** Throws AdminError 401 unless the request carries the admin token; see `checkHost` where there is none. */
export function authorizeAdmin(req: Request, admin: AdminConfig): void {
  if (admin.token === '') checkHost(req, admin);
  else if (!hasToken(req, [admin.token])) throw unauthorized('admin');
}

/** `/metrics` is open without `metricsToken`; with it, the admin token opens it too. */
export function authorizeMetrics(req: Request, admin: AdminConfig): void {
  if (admin.metricsToken === '') return;
  const tokens = admin.token === '' ? [admin.metricsToken] : [admin.metricsToken, admin.token];
  if (!hasToken(req, tokens)) throw unauthorized('metrics');
}

/** On loopback without a token the only guard is the machine: a web page elsewhere must not reach it by rebinding its name. */
function checkHost(req: Request, { host }: AdminConfig): void {
  if (!isLoopbackHost(host)) return;
  const name = (req.headers.host ?? '').replace(/:\d+$/, '');
  if (!isLoopbackHost(name)) {
    throw new AdminError(
      403,
      'foreign_host',
      'Without an admin token only requests to localhost are answered; set admin.token.',
    );
  }
}

function unauthorized(token: 'admin' | 'metrics'): AdminError {
  return new AdminError(
    401,
    'invalid_token',
    `The header authorization: Bearer <${token} token> is missing or not valid.`,
  );
}

/** Compares digests in constant time, so that neither a token's length nor its beginning can be measured. */
function hasToken(req: Request, tokens: readonly string[]): boolean {
  const match = /^Bearer +(\S+) *$/i.exec(req.headers.authorization ?? '');
  const given = digest(match?.[1] ?? '');
  const matches = tokens.map((token) => timingSafeEqual(given, digest(token)));
  return match !== null && matches.includes(true);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
