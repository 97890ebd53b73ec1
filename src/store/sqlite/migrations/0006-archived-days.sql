-- Layout 6: days whose records stand in the archive. A claim that brings more takes its days out again.

CREATE TABLE archived_days (
  day INTEGER PRIMARY KEY,
  hash TEXT NOT NULL
) STRICT;
