-- Layout 5: vouchers (adjustments, closed months), and the corrections that claims of closed months became.

CREATE TABLE vouchers (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  hash TEXT NOT NULL,
  body TEXT NOT NULL
) STRICT;

CREATE TABLE late_claims (
  journal TEXT NOT NULL,
  seq INTEGER NOT NULL,
  hour INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (journal, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX late_claims_by_hour ON late_claims (hour);

-- Everything before this epoch second is closed.
ALTER TABLE store ADD COLUMN closed_through INTEGER NOT NULL DEFAULT 0;
