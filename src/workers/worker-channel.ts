// The worker's end of the channel to its supervisor. Not here: what a worker does with what it is told (serve-worker.ts).
import type { UsageRecord } from '#domain/usage-record.ts';
import type { SoughtRequest } from '#reports/caller-books.ts';
import { QuestionDesk } from './questions.ts';
import type { Ask, FromWorker, ToWorker } from './worker-messages.ts';

/** Another worker may have to look through its unsettled records. */
const FIND_LIMIT_MS = 3000;

/** Words between this worker and the supervisor. */
export class WorkerChannel {
  /** Resolves with what to run. */
  readonly started: Promise<Extract<ToWorker, { t: 'start' }>>;
  /** Resolves when there is nothing more to do: told so, or the supervisor is gone. */
  readonly draining: Promise<'told' | 'orphaned'>;
  readonly #process: NodeJS.Process;
  readonly #desk: QuestionDesk;
  #answerTo: (ask: Ask) => Promise<unknown> = async () => null;

  /** `host` is this process, with its channel open. */
  constructor(host: NodeJS.Process) {
    this.#process = host;
    // The supervisor is asked for one thing only.
    this.#desk = new QuestionDesk((ask) => this.send(ask as Ask<'unsettled'>));
    const started = Promise.withResolvers<Extract<ToWorker, { t: 'start' }>>();
    const draining = Promise.withResolvers<'told' | 'orphaned'>();
    this.started = started.promise;
    this.draining = draining.promise;
    host.on('disconnect', () => draining.resolve('orphaned'));
    host.on('message', (message: ToWorker) => {
      if (message.t === 'start') started.resolve(message);
      else if (message.t === 'drain') draining.resolve('told');
      else if (message.t === 'answer') this.#desk.take(message);
      else if (message.t === 'ask') void this.#answer(message);
    });
    this.send({ t: 'hello' });
  }

  /** Lost where the supervisor is gone. */
  send(message: FromWorker): void {
    // With nobody to tell, a failed write would end this process before it has noticed and drained.
    if (this.#process.connected) this.#process.send?.(message, undefined, undefined, () => {});
  }

  /** From now on questions are answered by this; a rejection answers null. */
  onAsk(answer: (ask: Ask) => Promise<unknown>): void {
    this.#answerTo = answer;
  }

  /** A request that any of the workers may have had; what this one has, where the supervisor does not answer. */
  async findUnsettled(sought: SoughtRequest, own: () => readonly UsageRecord[]): Promise<readonly UsageRecord[]> {
    return (await this.#desk.ask('unsettled', { sought }, FIND_LIMIT_MS)) ?? own();
  }

  async #answer(ask: Ask): Promise<void> {
    const value = await this.#answerTo(ask).catch(() => null);
    this.send({ t: 'answer', id: ask.id, value });
  }
}
