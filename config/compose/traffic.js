// The traffic of `docker compose --profile demo`: three teams with different habits send to the gateway until SIGTERM.
// Runs on its own in a container (Node's built-ins only); what it sends is made up, what it causes is measured.
const GATEWAY_URL = process.argv[2] ?? 'http://gateway:8080';
/** Share of clients that hang up early; without it each team has its own. */
const IMPATIENT = process.argv[3] === undefined ? undefined : Number(process.argv[3]);
const IN_FLIGHT_MAX = 64;
const REQUEST_TIMEOUT_MS = 120_000;
const WORDS = [
  'the',
  'quarterly',
  'cache',
  'latency',
  'customer',
  'window',
  'ledger',
  'of',
  'and',
  'batch',
  'answer',
  'token',
];

/** Habits of a team: mean pause between requests, sizes in words and tokens, and how many clients lose patience. */
const TEAMS = [
  {
    key: process.env.SEARCH_KEY ?? 'demo-search-0123456789',
    model: 'llama-3.1-8b',
    pauseMs: 400,
    promptWords: 900,
    maxTokens: 96,
    stream: true,
    impatient: 0.01,
  },
  {
    key: process.env.SUPPORT_KEY ?? 'demo-support-0123456789',
    model: 'llama-3.1-8b',
    pauseMs: 900,
    promptWords: 250,
    maxTokens: 320,
    stream: true,
    impatient: 0.05,
  },
  {
    key: process.env.RESEARCH_KEY ?? 'demo-research-0123456789',
    model: 'mistral-nemo-12b',
    pauseMs: 1500,
    promptWords: 2200,
    maxTokens: 700,
    stream: false,
    impatient: 0,
  },
];

const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => stopping.abort());
const counts = { sent: 0, answered: 0, refused: 0, failed: 0, left: 0 };
let inFlight = 0;

/** Exponentially distributed around `mean`: arrivals without rhythm. */
const exponential = (mean) => -Math.log(1 - Math.random()) * mean;

function renderPrompt(words) {
  return Array.from(
    { length: Math.max(1, Math.round(words)) },
    () => WORDS[Math.floor(Math.random() * WORDS.length)],
  ).join(' ');
}

/** Resolves after `ms`, or at once when the process is told to stop. */
function pause(ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      stopping.signal.removeEventListener('abort', done);
      resolve();
    }
    stopping.signal.addEventListener('abort', done);
    if (stopping.signal.aborted) done();
  });
}

async function sendRequest(team) {
  counts.sent += 1;
  const leaving =
    Math.random() < (IMPATIENT ?? team.impatient)
      ? AbortSignal.timeout(Math.round(500 + Math.random() * 1500))
      : undefined;
  const signals = [
    stopping.signal,
    AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    ...(leaving === undefined ? [] : [leaving]),
  ];
  const body = {
    model: team.model,
    messages: [{ role: 'user', content: renderPrompt(exponential(team.promptWords)) }],
    max_tokens: Math.max(8, Math.round(exponential(team.maxTokens))),
    stream: team.stream,
  };
  try {
    const res = await fetch(`${GATEWAY_URL}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${team.key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.any(signals),
    });
    for await (const chunk of res.body) void chunk;
    counts[res.ok ? 'answered' : 'refused'] += 1;
  } catch {
    if (stopping.signal.aborted) return;
    counts[leaving?.aborted ? 'left' : 'failed'] += 1;
  }
}

/** Requests of one team at random instants; an overloaded stack is not loaded further. */
async function runTeam(team) {
  while (!stopping.signal.aborted) {
    await pause(exponential(team.pauseMs));
    if (stopping.signal.aborted || inFlight >= IN_FLIGHT_MAX) continue;
    inFlight += 1;
    void sendRequest(team).finally(() => {
      inFlight -= 1;
    });
  }
}

const report = setInterval(() => process.stdout.write(`${JSON.stringify({ ...counts, inFlight })}\n`), 30_000);
await Promise.all(TEAMS.map(runTeam));
clearInterval(report);
process.stdout.write(`${JSON.stringify({ ...counts, inFlight })}\n`);
