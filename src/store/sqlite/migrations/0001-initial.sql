-- Layout 1: everything the settlement protocol and the reports need (shared/design/settlement.md). Amounts are integer nanodollars.

CREATE TABLE store (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  epoch TEXT NOT NULL,
  alive_ms INTEGER NOT NULL,
  last_call_ms INTEGER NOT NULL,
  frontier INTEGER,
  freeze_count INTEGER NOT NULL,
  freeze_hash TEXT NOT NULL,
  board_version INTEGER NOT NULL,
  facts_version INTEGER NOT NULL,
  facts TEXT NOT NULL
) STRICT;

-- One row per journal that ever joined and was not forgotten.
CREATE TABLE members (
  journal TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('live', 'left', 'dropped')),
  incarnation INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  hash TEXT NOT NULL,
  sealed_through INTEGER NOT NULL,
  seen_alive_ms INTEGER NOT NULL,
  claimed INTEGER NOT NULL,
  late_publications INTEGER NOT NULL,
  blind TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The latest numbers of each journal, and what was answered, so that a replay is answered the same.
CREATE TABLE messages (
  journal TEXT NOT NULL,
  seq INTEGER NOT NULL,
  hash TEXT NOT NULL,
  claim_applied INTEGER,
  late_count INTEGER NOT NULL,
  PRIMARY KEY (journal, seq)
) STRICT, WITHOUT ROWID;

-- Publications of windows beyond the frontier.
CREATE TABLE board (
  window INTEGER NOT NULL,
  journal TEXT NOT NULL,
  pool TEXT NOT NULL,
  publication TEXT NOT NULL,
  PRIMARY KEY (window, journal, pool)
) STRICT, WITHOUT ROWID;

CREATE TABLE health (
  journal TEXT NOT NULL,
  pool TEXT NOT NULL,
  window INTEGER NOT NULL,
  healthy INTEGER NOT NULL,
  PRIMARY KEY (journal, pool, window)
) STRICT, WITHOUT ROWID;

CREATE TABLE freezes (
  k INTEGER PRIMARY KEY,
  hash TEXT NOT NULL
) STRICT;

-- Shares no claim has moved yet.
CREATE TABLE shares (
  journal TEXT NOT NULL,
  k INTEGER NOT NULL,
  total_nano_usd INTEGER NOT NULL,
  entry TEXT NOT NULL,
  PRIMARY KEY (journal, k)
) STRICT, WITHOUT ROWID;

CREATE TABLE books (
  hour INTEGER NOT NULL,
  pool TEXT NOT NULL,
  deployments TEXT NOT NULL,
  gpu TEXT NOT NULL,
  capacity_nano_usd INTEGER NOT NULL,
  charged_nano_usd INTEGER NOT NULL,
  idle_nano_usd INTEGER NOT NULL,
  unavailable_nano_usd INTEGER NOT NULL,
  unobserved_nano_usd INTEGER NOT NULL,
  unmetered_nano_usd INTEGER NOT NULL,
  claimed_nano_usd INTEGER NOT NULL,
  capacity_gpu_micros INTEGER NOT NULL,
  charged_gpu_micros INTEGER NOT NULL,
  busy_ms INTEGER NOT NULL,
  flight_ms INTEGER NOT NULL,
  provisioned_seconds INTEGER NOT NULL,
  PRIMARY KEY (hour, pool)
) STRICT, WITHOUT ROWID;

-- JSON [team, project, keyId, model, deployment], interned.
CREATE TABLE dims (
  id INTEGER PRIMARY KEY,
  dims TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE rollups (
  granularity TEXT NOT NULL CHECK (granularity IN ('hour', 'day', 'month')),
  start INTEGER NOT NULL,
  dims_id INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  failed_requests INTEGER NOT NULL,
  aborted_requests INTEGER NOT NULL,
  rejected_requests INTEGER NOT NULL,
  requests_without_tokens INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  reported_tokens INTEGER NOT NULL,
  counted_tokens INTEGER NOT NULL,
  estimated_tokens INTEGER NOT NULL,
  gpu_micros INTEGER NOT NULL,
  cost_nano_usd INTEGER NOT NULL,
  prefill_nano_usd INTEGER NOT NULL,
  decode_nano_usd INTEGER NOT NULL,
  other_nano_usd INTEGER NOT NULL,
  wasted_nano_usd INTEGER NOT NULL,
  wasted_gpu_micros INTEGER NOT NULL,
  PRIMARY KEY (granularity, start, dims_id)
) STRICT, WITHOUT ROWID;

-- Settled records: deflated batches of one claim, at most ten minutes of endings each (epoch milliseconds).
CREATE TABLE record_batches (
  id INTEGER PRIMARY KEY,
  first_ended_ms REAL NOT NULL,
  last_ended_ms REAL NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX record_batches_by_end ON record_batches (last_ended_ms, id);

-- Charge lines of each applied claim, deflated; `day` is the first epoch second of the UTC day of the first line.
CREATE TABLE claim_lines (
  journal TEXT NOT NULL,
  seq INTEGER NOT NULL,
  day INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (journal, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX claim_lines_by_day ON claim_lines (day);
