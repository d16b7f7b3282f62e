/** Frames as flame graph tools have them: a name each, without where in the function it is. */

import { baseName } from "../report/path.js";
import { hexText } from "../show/notation.js";
import type { StackFrame } from "./table.js";

/** `main`; `libx.so+0x12f0` where nothing has a name. */
export function frameName(frame: StackFrame): string {
  if (frame.trampoline) return "<signal handler called>";
  if (frame.function !== undefined) return frame.function;
  const address = hexText(frame.address);
  return frame.image === undefined ? address : `${baseName(frame.image.path)}+${address}`;
}
