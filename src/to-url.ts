// The URL under which a bound address is reached from this host.

/** Any-addresses are shown as loopback; IPv6 in brackets. */
export function toUrl({ host, port }: { readonly host: string; readonly port: number }, tls: boolean): string {
  const shown = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  return `${tls ? 'https' : 'http'}://${shown}:${port}`;
}
