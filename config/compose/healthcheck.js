// Exit status for container health checks: 0 if GET of the URL in the first argument answers 2xx, else 1 with the reason.
// The slim image has no curl, and this costs it nothing. No proxying, no retries: the container engine repeats it.
const TIMEOUT_MS = 2500;

const url = process.argv[2];
try {
  if (url === undefined) throw new Error('usage: healthcheck.js URL');
  const res = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'error' });
  if (!res.ok) throw new Error(`${url} answered ${res.status}: ${(await res.text()).slice(0, 300)}`);
} catch (err) {
  process.stderr.write(`${err instanceof Error ? err.message : String(err)}\n`);
  process.exitCode = 1;
}
