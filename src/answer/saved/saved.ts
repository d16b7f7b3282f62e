/**
 * A saved query: a question that many ask, answered without a database. What it says in words of tables it says once more
 * in SQL, which a test holds to the same answer.
 */

/** Rows with equal values of `by` become one, with how many they were and sums of columns of theirs. */
export interface Grouping {
  readonly by: readonly string[];
  readonly sums: readonly string[];
  /** Name of the column that counts. */
  readonly count: string;
}

export interface Order {
  /** Rows are ordered by the sum of these columns. Equal ones stay in the order of the table. */
  readonly by: readonly string[];
  readonly descending: boolean;
}

export interface SavedQuery {
  /** As it is called, without `@`. */
  readonly name: string;
  /** One line for people. */
  readonly doc: string;
  readonly table: string;
  /** Columns of the answer, in their order. */
  readonly columns: readonly string[];
  /** In the filter language, with the fields of the table. */
  readonly where?: string;
  readonly group?: Grouping;
  readonly order?: Order;
  /** Rows of the answer, at most. */
  readonly limit?: number;
  readonly sql: string;
}
