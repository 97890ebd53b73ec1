// Small dense quadratic problems: symmetric positive definite systems, their inverse, and the non-negative minimum.

/** Rows of a square matrix. */
export type Matrix = readonly (readonly number[])[];

/** Solves A·x = b by Gaussian elimination with pivoting; undefined where A is singular. */
export function solveLinear(matrix: Matrix, right: readonly number[]): readonly number[] | undefined {
  const size = right.length;
  const rows = matrix.map((row, index) => [...row, right[index] ?? 0]);
  for (let column = 0; column < size; column += 1) {
    const pivotIndex = findPivot(rows, column);
    const pivotRow = rows[pivotIndex];
    const pivot = pivotRow?.[column] ?? 0;
    if (pivotRow === undefined || Math.abs(pivot) < 1e-300) return undefined;
    [rows[column], rows[pivotIndex]] = [pivotRow, rows[column] ?? []];
    for (const [index, row] of rows.entries()) {
      if (index === column) continue;
      const factor = (row[column] ?? 0) / pivot;
      if (factor === 0) continue;
      for (let at = column; at <= size; at += 1) row[at] = (row[at] ?? 0) - factor * (pivotRow[at] ?? 0);
    }
  }
  return rows.map((row, index) => (row[size] ?? 0) / (row[index] ?? 1));
}

function findPivot(rows: readonly (readonly number[])[], column: number): number {
  let best = column;
  for (let index = column + 1; index < rows.length; index += 1) {
    if (Math.abs(rows[index]?.[column] ?? 0) > Math.abs(rows[best]?.[column] ?? 0)) best = index;
  }
  return best;
}

/** Diagonal of the inverse of A; undefined where A is singular. */
export function invertDiagonal(matrix: Matrix): readonly number[] | undefined {
  const diagonal: number[] = [];
  for (const index of matrix.keys()) {
    const column = solveLinear(
      matrix,
      matrix.map((_, row) => (row === index ? 1 : 0)),
    );
    if (column === undefined) return undefined;
    diagonal.push(column[index] ?? 0);
  }
  return diagonal;
}

/**
 * The x ≥ 0 that minimises ½·xᵀA·x − bᵀx for a positive definite A: the one set of free variables that meets the
 * Karush-Kuhn-Tucker conditions, found by trying them, so at most a dozen variables. Throws RangeError beyond, or where A is singular.
 */
export function minimiseNonNegative(matrix: Matrix, right: readonly number[]): readonly number[] {
  const size = right.length;
  if (size > 12) throw new RangeError(`${size} variables are too many to try every set of free ones`);
  const all = 2 ** size - 1;
  // Nearly always all are free, which is the first set tried.
  for (let bound = 0; bound <= all; bound += 1) {
    const free = [...right.keys()].filter((index) => (bound & (1 << index)) === 0);
    const found = solveFree(matrix, right, free);
    if (found !== undefined && isOptimal(matrix, right, found)) return found;
  }
  throw new RangeError('the system is singular');
}

function solveFree(matrix: Matrix, right: readonly number[], free: readonly number[]): readonly number[] | undefined {
  const solved = solveLinear(
    free.map((row) => free.map((column) => matrix[row]?.[column] ?? 0)),
    free.map((row) => right[row] ?? 0),
  );
  if (solved === undefined) return undefined;
  const full = right.map(() => 0);
  for (const [index, place] of free.entries()) full[place] = solved[index] ?? 0;
  return full;
}

/** No value below zero, and no bound variable that the gradient would let rise. */
function isOptimal(matrix: Matrix, right: readonly number[], found: readonly number[]): boolean {
  return found.every((value, row) => {
    if (value < 0) return false;
    if (value > 0) return true;
    const gradient = (matrix[row] ?? []).reduce((sum, factor, column) => sum + factor * (found[column] ?? 0), 0);
    return gradient - (right[row] ?? 0) >= -1e-9 * Math.max(1, Math.abs(right[row] ?? 0));
  });
}
