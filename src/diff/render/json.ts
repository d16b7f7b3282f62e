/**
 * A result as one JSON document:
 *
 *     {"schema":"trace.diff","version":1,"verdict":"different","firstCause":{...},"differences":[...]}
 *
 * It is the `DiffResult` of the library; what is not there is null. Times are nanoseconds.
 */

import type { DiffResult } from "../result.js";

export const SCHEMA = "trace.diff";
export const SCHEMA_VERSION = 1;

export function diffJson(result: DiffResult): string {
  const document = { schema: SCHEMA, version: SCHEMA_VERSION, ...result };
  return `${JSON.stringify(document, nulled, 2)}\n`;
}

/** Optional members are null instead of missing, so that every document has the same ones. */
function nulled(_: string, value: unknown): unknown {
  return value === undefined ? null : value;
}
