/** Types of columns as SQL has them. */

import type { TableColumn } from "../tables/table.js";

const TYPES: Readonly<Record<TableColumn["type"], string>> = {
  int: "BIGINT",
  word: "BIGINT",
  bool: "BOOLEAN",
  text: "VARCHAR",
  bytes: "BLOB",
};

export function sqlType({ type }: Pick<TableColumn, "type">): string {
  return TYPES[type];
}
