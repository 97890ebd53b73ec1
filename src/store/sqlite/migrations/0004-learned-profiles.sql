-- Layout 4: what was learned of engines (sums over windows, JSON): one document with a version to compare and set, apart from the store's own
-- row, which every call reads.

CREATE TABLE learned (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  version INTEGER NOT NULL,
  text TEXT NOT NULL
) STRICT;
INSERT INTO learned (id, version, text) VALUES (1, 0, '');
