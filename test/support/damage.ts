/** Traces of which blocks of events are damaged. */

import { readFileSync, writeFileSync } from "node:fs";
import { TextTrace } from "./text_trace.js";

/** Calls of the trace before it was damaged. */
export const WHOLE = 40_000;

/** What begins a block of events in a trace file. */
const BLOCK = Buffer.from("\xf7TRf\x03", "latin1");

/** Reads from a file by one process; the events of the last block cannot be read. */
export async function damagedTrace(path: string): Promise<string> {
  const trace = new TextTrace()
    .meta("argv", '["damaged"]')
    .thread(1, 1, 7, 7)
    .object("file", "/etc/passwd")
    .event("task", { args: [0, 0] });
  let random = 1;
  for (let k = 0; k < WHOLE; k++) {
    random = (random * 48271) % 0x7fff_ffff;
    const failed = k % 4 === 0;
    trace.call("read", {
      args: [3, random, 65536],
      ret: failed ? -11 : random % 65536,
      refs: [[0, 3, 0]],
    });
  }
  await trace.write(path);
  const bytes = readFileSync(path);
  const last = bytes.lastIndexOf(BLOCK);
  if (last === bytes.indexOf(BLOCK)) throw new Error("the trace has one block");
  bytes.fill(0xff, last + 200, last + 300);
  writeFileSync(path, bytes);
  return path;
}

/** A copy of a trace of which no event can be read. */
export function damageFirstBlock(path: string, copy: string): void {
  const bytes = readFileSync(path);
  const end = bytes.indexOf(BLOCK) + 100;
  bytes.fill(0xff, end - 10, end);
  writeFileSync(copy, bytes);
}
