// The learner's document in SQLite. Runs in the worker thread.
import type { LearnedDocument } from '#domain/learner-store.ts';
import type { Statements } from './statements.ts';

const READ = 'SELECT version, text FROM learned WHERE id = 1';
const WRITE = 'UPDATE learned SET text = ?, version = version + 1 WHERE id = 1 AND version = ?';

/** See LearnerStore for what each function promises. */
export function readLearned(statements: Statements): LearnedDocument {
  const row = statements.get(READ);
  return { version: Number(row?.['version'] ?? 0), text: String(row?.['text'] ?? '') };
}

export function putLearned(statements: Statements, text: string, expectedVersion: number): 'stored' | 'stale' {
  return statements.transact(() => (statements.run(WRITE, text, expectedVersion) === 1 ? 'stored' : 'stale'));
}
