/** All tables by their names, in the order in which they are listed. */

import { event } from "./event.js";
import { process } from "./process.js";
import type { TableDef } from "./table.js";
import { thread } from "./thread.js";

export const TABLES: readonly TableDef[] = [event, process, thread];

/** The table of that name, or undefined. */
export function findTable(name: string): TableDef | undefined {
  return TABLES.find((table) => table.name === name);
}
