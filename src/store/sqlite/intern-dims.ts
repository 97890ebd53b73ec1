// Dimensions of rollup cells, each spelling once. The caller holds the transaction.
import type { Statements } from './statements.ts';

const ADD_DIMS = 'INSERT OR IGNORE INTO dims (dims) VALUES (?)';
const READ_DIMS_ID = 'SELECT id FROM dims WHERE dims = ?';

/** Id of a cell's dimensions as `formatDims` spells them. */
export function internDims(statements: Statements, dims: string): number {
  statements.run(ADD_DIMS, dims);
  return Number(statements.get(READ_DIMS_ID, dims)?.['id']);
}
