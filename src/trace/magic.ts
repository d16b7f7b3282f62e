/** Telling trace files from others by their first bytes. */

import { closeSync, openSync, readSync, statSync } from "node:fs";

/** As `native/format/src/frame.rs` has them. */
const MAGIC = Buffer.from("\x8aTRC\r\n\x1a\n", "latin1");

/** False for what cannot be read, and for what is no regular file. */
export function startsAsTrace(path: string): boolean {
  try {
    // Opening a pipe would wait for a writer.
    if (!statSync(path).isFile()) return false;
    const file = openSync(path, "r");
    try {
      const head = Buffer.alloc(MAGIC.length);
      return readSync(file, head, 0, head.length, 0) === head.length && head.equals(MAGIC);
    } finally {
      closeSync(file);
    }
  } catch {
    return false;
  }
}
