/** Opening a trace. */

import { TraceError } from "../errors.js";
import { native } from "../native.js";
import { unwrap } from "./failure.js";
import { Trace } from "./trace.js";

/**
 * Opens a trace file. One that is still being recorded, or that was cut, opens too: `state` says so.
 *
 * @throws TraceError `NO_FILE`, `NOT_A_TRACE`, `VERSION` (made by a newer version), `CORRUPT`, `IO`
 */
export async function openTrace(path: string): Promise<Trace> {
  if (path === "") {
    throw new TraceError("NO_FILE", "the name of the trace is empty", {
      hint: "is a variable not set? Left out, it is the latest trace",
    });
  }
  return new Trace(path, unwrap(await native().openTrace(path)));
}
