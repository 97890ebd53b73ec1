// GET / of the admin plane: which endpoints there are. The console is a later version's; nothing here pretends to be it.

const ENDPOINTS = [
  ['/metrics', 'Prometheus metrics'],
  ['/healthz', 'whether the process answers'],
  ['/readyz', 'whether it may get traffic, and what is wrong if not'],
  [
    '/api/reports/chargeback',
    'chargeback of this month: month | from, to; groupBy, timezone, idle, team, format=json|csv|table',
  ],
  ['/api/usage', 'usage over time: from, to, groupBy, granularity=hour|day|month, team'],
  ['/api/deployments', 'deployments with health, price per million tokens and utilisation'],
  [
    '/api/requests',
    'single requests with their cost: team, project, model, deployment, keyId, user, outcome, requestId, from, to, limit, cursor',
  ],
] as const;

/** A whole HTML page without scripts and without anything from elsewhere. */
export const START_PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Inferometer admin</title>
<h1>Inferometer</h1>
<p>The admin plane of an inference gateway that measures what GPU time really costs. A console comes with a later version; until then:</p>
<dl>
${ENDPOINTS.map(([path, text]) => `<dt><a href="${path}">${path}</a></dt><dd>${text}</dd>`).join('\n')}
</dl>
</html>
`;
