-- Layout 3: what engines and DCGM say of their GPUs stands in the books, and leases say which process asks them.

-- Milliseconds with at least one attempt in flight, and milliseconds of GPU activity (mean over the pool's GPUs) as DCGM counted them.
ALTER TABLE books ADD COLUMN in_flight_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE books ADD COLUMN device_active_ms INTEGER NOT NULL DEFAULT 0;
-- Windows with charged work, by the source of their busy time.
ALTER TABLE books ADD COLUMN in_flight_windows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE books ADD COLUMN engine_windows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE books ADD COLUMN dcgm_windows INTEGER NOT NULL DEFAULT 0;

CREATE TABLE leases (
  name TEXT PRIMARY KEY,
  holder TEXT NOT NULL,
  expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
