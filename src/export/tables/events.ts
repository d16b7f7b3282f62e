/** What the addon has to know to make the rows of table `event` itself: `native/tables/src/event.rs`. */

import { rowIndex } from "../../decode/context.js";
import { ERRNO_NAMES, I386, NAMES, X86_64 } from "../../decode/names.generated.js";
import { signalName } from "../../decode/scalar.js";
import type { TraceError } from "../../errors.js";
import type { NativeEventsWritten, NativeMeanings } from "../../native.js";
import { shapeOf } from "../../query/facts.js";
import { KIND_NAMES } from "../../trace/batch.js";
import { traceError } from "../../trace/failure.js";
import type { Trace } from "../../trace/trace.js";

const X32_BIT = 0x4000_0000;
/** Beyond the last number of the x32 convention. */
const X32_NUMBERS = 1024;
const SIGNALS = 128;

let meanings: NativeMeanings | undefined;

export function eventMeanings(): NativeMeanings {
  meanings ??= makeMeanings();
  return meanings;
}

function makeMeanings(): NativeMeanings {
  const x32 = Array.from({ length: X32_NUMBERS }, (_, k) => rowIndex(0, X32_BIT + k));
  return {
    shapes: NAMES.map(shapeOfRow),
    x8664: Int32Array.from(X86_64, (row) => row ?? -1),
    i386: Int32Array.from(I386, (row) => row ?? -1),
    x32: Int32Array.from(x32),
    kinds: KIND_NAMES,
    errors: ERRNO_NAMES,
    signals: Array.from({ length: SIGNALS }, (_, number) => signalName(number) ?? ""),
  };
}

function shapeOfRow(name: string, row: number): NativeMeanings["shapes"][number] {
  const x64 = X86_64.indexOf(row);
  const shape = x64 >= 0 ? shapeOf(0, x64) : shapeOf(1, I386.indexOf(row));
  return {
    name,
    path: shape?.paths[0] ?? -1,
    base: shape?.bases[0] ?? -1,
    fds: shape?.fds ?? [],
    returnsFd: shape?.returnsFd ?? false,
    addresses: shape?.addresses ?? [],
    transfers: shape?.transfers ?? false,
  };
}

/** Why rows are missing, of what the addon says and what was known of the trace before. */
export function missingRows({ damage }: NativeEventsWritten, trace: Trace): TraceError | undefined {
  if (damage !== null) return traceError(damage);
  return trace.info.definitionsDamaged ? trace.damage : undefined;
}
