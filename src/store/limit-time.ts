// The hard time limit of a store call. A store that hangs must never hang its caller.
import { StoreUnavailableError } from '#domain/settlement-store.ts';

/** Settles like `call`, or rejects with StoreUnavailableError after `limitMs`; the call itself goes on and its outcome is dropped. */
export function limitTime<T>(call: Promise<T>, limitMs: number, name: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new StoreUnavailableError(`the store did not answer ${name} within ${limitMs} ms`)),
      limitMs,
    );
    call.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
