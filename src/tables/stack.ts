/** Tables `stack` and `frame`: the stacks of calls, of traces that hold them. */

import { syscallName } from "../decode/context.js";
import { frameName } from "../stacks/folded.js";
import { keptStacks, siteOf } from "../stacks/kept.js";
import type { Stack } from "../stacks/table.js";
import { EventKind } from "../trace/batch.js";
import { processName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { rowTable } from "./builder.js";
import type { TableColumn } from "./table.js";

const OF_EVENT: readonly TableColumn[] = [
  { name: "seq", type: "int", doc: "number of the event", nullable: false },
  { name: "proc", type: "text", doc: "its process", nullable: true },
  { name: "thread", type: "text", doc: "its thread", nullable: true },
  { name: "call", type: "text", doc: "the call; none for a signal", nullable: true },
];

const stackColumns: readonly TableColumn[] = [
  ...OF_EVENT,
  {
    name: "function",
    type: "text",
    doc: "innermost function with a line that is not the C library's",
    nullable: true,
  },
  { name: "file", type: "text", doc: "source file of that line", nullable: true },
  { name: "line", type: "int", doc: "its number", nullable: true },
  { name: "depth", type: "int", doc: "how many frames there are", nullable: false },
  {
    name: "frames",
    type: "text",
    doc: "all functions, outermost first: main;run;write",
    nullable: false,
  },
  { name: "cut", type: "text", doc: "why there are no more frames", nullable: true },
];

const frameColumns: readonly TableColumn[] = [
  ...OF_EVENT,
  { name: "depth", type: "int", doc: "0 for the innermost frame", nullable: false },
  { name: "function", type: "text", doc: "name of the function", nullable: true },
  { name: "offset", type: "int", unit: "bytes", doc: "how far behind its start", nullable: true },
  { name: "file", type: "text", doc: "source file", nullable: true },
  { name: "line", type: "int", doc: "line there", nullable: true },
  { name: "image", type: "text", doc: "the file with the code", nullable: true },
  { name: "address", type: "word", doc: "as that file counts", nullable: true },
  { name: "inlined", type: "bool", doc: "into the frame that follows", nullable: false },
  {
    name: "kind",
    type: "text",
    doc: "native; interpreted; compiled at run time; signal: the return from a handler",
    nullable: false,
  },
  { name: "guessed", type: "bool", doc: "found by a frame pointer", nullable: false },
];

type EventFacts = readonly [
  seq: number,
  proc: string | undefined,
  thread: string | undefined,
  call: string | undefined,
];

/** The events that have a stack, in their order. */
async function* stacksOf(trace: Trace): AsyncGenerator<readonly [EventFacts, Stack]> {
  const stacks = await keptStacks(trace);
  if (stacks === undefined) return;
  const kinds = [EventKind.Call, EventKind.Signal];
  for await (const batch of trace.batches({ columns: ["base"], kinds })) {
    for (let i = 0; i < batch.count; i++) {
      const seq = batch.firstSeq + i;
      const own = stacks.of(seq);
      if (own === undefined) continue;
      const thread = trace.threads[batch.thread[i] ?? -1];
      const isCall = batch.kind[i] === EventKind.Call;
      const facts: EventFacts = [
        seq,
        thread && processName(thread.process),
        thread && `${processName(thread.process)}.${thread.ordinal}`,
        isCall ? syscallName(batch.arch[i] ?? 0, batch.code[i] ?? -1) : undefined,
      ];
      yield [facts, own];
    }
  }
}

export const stack = rowTable(
  {
    name: "stack",
    doc: "every stack that the trace holds (trace enrich, trace record --stacks)",
    columns: stackColumns,
    brief: ["seq", "thread", "call", "function", "file", "line", "depth"],
  },
  async function* (trace) {
    for await (const [facts, own] of stacksOf(trace)) {
      const site = siteOf(own);
      const frames = own.frames.map(frameName).reverse().join(";");
      const { length } = own.frames;
      yield [...facts, site?.function, site?.file, site?.line, length, frames, own.cut];
    }
  },
);

export const frame = rowTable(
  {
    name: "frame",
    doc: "every frame of these stacks",
    columns: frameColumns,
    brief: ["seq", "call", "depth", "function", "file", "line", "image"],
  },
  async function* (trace) {
    for await (const [facts, own] of stacksOf(trace)) {
      for (const [depth, one] of own.frames.entries()) {
        const { interpreted, compiled, trampoline } = one;
        const kind = interpreted ? "interpreted" : compiled ? "compiled" : "native";
        yield [
          ...facts,
          depth,
          one.function,
          one.behind,
          one.source?.file,
          one.source?.line,
          one.image?.path,
          interpreted ? undefined : one.address,
          one.inlined,
          trampoline ? "signal" : kind,
          one.guessed,
        ];
      }
    }
  },
);
