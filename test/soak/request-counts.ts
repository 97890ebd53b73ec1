// What the gateway's own metrics say of the requests it finished.

export interface RequestCounts {
  readonly all: number;
  readonly byStatus: Readonly<Record<string, number>>;
  readonly inFlight: number;
}

/** Reads /metrics of an admin plane: `inferometer_requests_total` and `inferometer_requests_in_flight`. */
export async function readRequestCounts(adminUrl: string): Promise<RequestCounts> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  const byStatus: Record<string, number> = {};
  let all = 0;
  for (const [, labels = '', value] of text.matchAll(/^inferometer_requests_total\{(.*)\} (\S+)$/gm)) {
    const status = /status="([^"]*)"/.exec(labels)?.[1] ?? '';
    byStatus[status] = (byStatus[status] ?? 0) + Number(value);
    all += Number(value);
  }
  let inFlight = 0;
  for (const [, value] of text.matchAll(/^inferometer_requests_in_flight\{.*\} (\S+)$/gm)) inFlight += Number(value);
  return { all, byStatus, inFlight };
}
