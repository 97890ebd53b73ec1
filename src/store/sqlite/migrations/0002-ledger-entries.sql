-- Layout 2: applied claims are kept as they were sent, each linked to the one before, and freezes by the digest of their content,
-- so that `ledger verify` can recompute the books. Layout 1 kept charge lines nothing could be recomputed from.

DROP TABLE claim_lines;

-- `day`: first epoch second of the UTC day of the message's sealedThrough. `previous`: `day|seq|hash` of the journal's entry before, or empty.
CREATE TABLE claim_entries (
  journal TEXT NOT NULL,
  seq INTEGER NOT NULL,
  day INTEGER NOT NULL,
  previous TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (journal, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX claim_entries_by_day ON claim_entries (day);

ALTER TABLE members ADD COLUMN entry TEXT NOT NULL DEFAULT '';

-- The claim that delivered a batch; null in batches of layout 1.
ALTER TABLE record_batches ADD COLUMN journal TEXT;
ALTER TABLE record_batches ADD COLUMN seq INTEGER;
ALTER TABLE record_batches ADD COLUMN part INTEGER;
CREATE INDEX record_batches_by_claim ON record_batches (journal, seq, part);

-- Freezes by the UTC hour of their last window: 32 bytes each, and the chain's state before the hour's first.
CREATE TABLE freeze_hours (
  hour INTEGER PRIMARY KEY,
  first_k INTEGER NOT NULL,
  previous_hash TEXT NOT NULL
) STRICT;
CREATE TABLE freeze_digests (
  k INTEGER PRIMARY KEY,
  hour INTEGER NOT NULL,
  digest BLOB NOT NULL
) STRICT;
CREATE INDEX freeze_digests_by_hour ON freeze_digests (hour);

-- Hours from here on have all their claims kept.
ALTER TABLE store ADD COLUMN entries_from INTEGER NOT NULL DEFAULT 0;
UPDATE store SET entries_from = frontier - frontier % 3600 + 3600 WHERE frontier IS NOT NULL;
