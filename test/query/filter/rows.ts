/** Events as plain objects, for tests of compiled filters. */

import {
  compileFilter,
  type FieldResolver,
  type FieldValue,
  parseFilter,
  type SyscallEntry,
} from "../../../src/query/filter/index.js";

export const table: readonly SyscallEntry[] = [
  { name: "read", classes: ["desc"] },
  { name: "write", classes: ["desc"] },
  { name: "open", classes: ["desc", "file"] },
  { name: "openat", classes: ["desc", "file"] },
  { name: "close", classes: ["desc"] },
  { name: "stat", classes: ["file"] },
  { name: "getpid", classes: [] },
  { name: "getuid", classes: ["creds"] },
  { name: "socket", classes: ["network"] },
  { name: "connect", classes: ["network"] },
  { name: "kill", classes: ["signal", "process"] },
];

export type Row = Readonly<Record<string, FieldValue | undefined>>;

/** Fields of the rows; `class` and the look-up by name follow from `name`. */
export class RowResolver implements FieldResolver {
  nameSets = 0;
  fields = 0;
  readonly #rows: readonly Row[];

  constructor(rows: readonly Row[]) {
    this.#rows = rows;
  }

  field(name: string): (i: number) => FieldValue | undefined {
    this.fields += 1;
    return (i) => this.#rows[i]?.[name];
  }

  nameSet(fits: (name: string, classes: readonly string[]) => boolean): (i: number) => boolean {
    this.nameSets += 1;
    const names = new Set(
      table.filter((row) => fits(row.name, row.classes)).map((row) => row.name),
    );
    return (i) => {
      const name = this.#rows[i]?.name;
      return typeof name === "string" && names.has(name);
    };
  }
}

/** Whether the filter chooses the row. */
export function chooses(text: string, row: Row): boolean {
  return compileFilter(parseFilter(text), new RowResolver([row]))(0);
}
