// What callers may read of their own team's books, as the gateway asks for it. compose.ts hands the reader in; routes are in caller-routes.

/** JSON of one record (contract §6). */
export interface CallerRecord {
  readonly settled: boolean;
  readonly json: Readonly<Record<string, unknown>>;
}

/** A parameter that cannot be used. */
export interface BadParameter {
  readonly parameter: string;
  readonly problem: string;
}

export type BooksAnswer<Body> =
  | { readonly kind: 'found'; readonly body: Body }
  | { readonly kind: 'bad'; readonly bad: BadParameter }
  /** The store cannot be asked now. */
  | { readonly kind: 'unavailable' };

/** Never rejects; only ever reads the team it is given. */
export interface CallerBooks {
  /** All attempts of a request by the gateway's or the client's id, oldest first; empty where the team has none. */
  findRequests(team: string, id: string): Promise<BooksAnswer<readonly CallerRecord[]>>;
  /** Usage of the team in a period; parameters as sent, undefined where absent. */
  readUsage(
    team: string,
    query: Readonly<Record<'from' | 'to' | 'groupBy' | 'granularity', string | undefined>>,
  ): Promise<BooksAnswer<unknown>>;
  /** The team's budget with what is spent of it; null without a budget. */
  readBudget(team: string): Promise<BooksAnswer<unknown>>;
}
