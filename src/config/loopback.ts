// Which host names reach this machine only.
import ipaddr from 'ipaddr.js';

/** Whether a socket bound to `host` can be reached from this machine only: `localhost`, 127.0.0.0/8, `::1`. */
export function isLoopbackHost(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  return ipaddr.isValid(name) && ipaddr.parse(name).range() === 'loopback';
}
