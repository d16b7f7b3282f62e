/** Folded stacks, one line each, as flame graph tools read them: `sh;gcc;cc1;openat 1234`. */

import type { StackTable } from "../stacks/table.js";
import { collectStacks, stacksOf, type Weight } from "./stacks.js";
import type { EventStream } from "./stream.js";

/** Frames are separated by semicolons and lines by line ends. */
function frame(name: string): string {
  return name.replace(/[;\p{Cc}]/gu, "_");
}

export async function* foldedLines(
  stream: EventStream,
  weight: Weight,
  stacks?: StackTable,
): AsyncGenerator<string> {
  const root = await collectStacks(stream, weight, stacks);
  for (const [frames, value] of stacksOf(root)) {
    yield `${frames.map(frame).join(";")} ${Math.round(value)}\n`;
  }
}
