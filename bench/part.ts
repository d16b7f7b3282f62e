/** Files of results of which several programs write a part each. */

import { existsSync, readFileSync, writeFileSync } from "node:fs";

/**
 * Replaces the part of a file that begins with one mark and ends with another, or adds it behind the others. `part` has both marks;
 * `title` begins a file that is not there yet.
 */
export function writePart(
  file: string,
  title: string,
  [first, last]: readonly [string, string],
  part: string,
): void {
  const known = existsSync(file) ? readFileSync(file, "utf8") : `${title}\n`;
  const start = known.indexOf(first);
  const end = start < 0 ? -1 : known.indexOf(last, start);
  const isThere = start >= 0 && end >= 0;
  const before = isThere ? known.slice(0, start) : `${known.trimEnd()}\n\n`;
  const after = isThere ? known.slice(end + last.length) : "\n";
  writeFileSync(file, `${before}${part}${after}`);
}
