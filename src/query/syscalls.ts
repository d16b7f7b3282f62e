/** The syscall table as the filter language wants it: names, classes, and the words that exist. */

import { CLASS_BITS, CLASSES, ERRNO_NAMES, NAMES } from "../decode/names.generated.js";
import type { SyscallEntry, Vocabulary } from "./filter/index.js";

const classBits = Object.entries(CLASS_BITS);

/** Classes of a row of the table, without `%`. */
export function classesOf(row: number): readonly string[] {
  const bits = CLASSES[row] ?? 0;
  return classBits.filter(([, bit]) => (bits & bit) !== 0).map(([name]) => name);
}

/** All rows of the table; a name may have several. */
export const syscallEntries: readonly SyscallEntry[] = NAMES.map((name, row) => ({
  name,
  classes: classesOf(row),
}));

/** What the parser checks names against. */
export const vocabulary: Vocabulary = {
  syscalls: new Set(NAMES),
  classes: new Set(Object.keys(CLASS_BITS)),
  errors: new Set(ERRNO_NAMES.filter((name) => name !== "")),
};
