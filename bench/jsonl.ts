/**
 * How fast events become JSONL: a synthetic mix of file calls as build tools make them, on one thread.
 *
 *     npx tsx bench/jsonl.ts [events]
 */

import { JSON_OPTIONS, jsonEvent } from "../src/show/json.js";
import { JsonlWriter } from "../src/show/jsonl.js";
import type { EventBatch } from "../src/trace/batch.js";
import {
  BatchBuilder,
  CaptureSide,
  object,
  pack,
  Slot,
  thread,
  trace,
} from "../test/support/batch.js";

const EVENTS_PER_BATCH = 8_000;
const { Out } = CaptureSide;

function stat(k: number): Uint8Array {
  return pack(
    [8, 0x801],
    [8, 1_000_000 + k],
    [8, 1],
    [4, 0o100644],
    [4, 1000],
    [4, 1000],
    [4, 0],
    [8, 0],
    [8, 4096 + 17 * k],
    [8, 4096],
    [8, 16],
    [8, 1_700_000_000],
    [8, 123_456_789],
    [8, 1_700_000_000 + k],
    [8, 223_456_789],
    [8, 1_700_000_001],
    [8, 323_456_789],
    [8, 0],
    [8, 0],
    [8, 0],
  );
}

const objects = Array.from({ length: 400 }, (_, k) =>
  object(k, `/usr/include/x86_64/dir${k}/file${k}.h`),
);

/** One file opened, looked at, read, mapped and closed; and one that is not there. */
function addFile(builder: BatchBuilder, k: number): void {
  const text = new TextEncoder().encode(
    `/* file ${k} of the synthetic tree */\n#include <stdio.h>\n`,
  );
  const fd = [{ slot: 0, object: k }];
  const cwd = [{ slot: Slot.Cwd, object: 0 }];
  const path = { slot: 1, addr: 0x5500_1000, bytes: `/usr/include/x86_64/dir${k}/file${k}.h` };
  builder
    .call("openat", { args: [-100, 0x5500_1000, 0x80000, 0], ret: -2, captures: [path], refs: cwd })
    .call("openat", {
      args: [-100, 0x5500_1000, 0x80000, 0],
      ret: 3,
      captures: [path],
      refs: [...cwd, { slot: Slot.Ret, object: k }],
    })
    .call("newfstatat", {
      args: [3, 0x5500_2000, 0x7ffe_0000_1000, 0x1000],
      captures: [
        { slot: 1, addr: 0x5500_2000, bytes: "" },
        { slot: 2, side: Out, addr: 0x7ffe_0000_1000, bytes: stat(k) },
      ],
      refs: fd,
    })
    .call("read", {
      args: [3, 0x7f00_0000_4000, 4096],
      ret: text.length,
      captures: [{ slot: 1, side: Out, addr: 0x7f00_0000_4000, bytes: text }],
      refs: fd,
    })
    .call("read", {
      args: [3, 0x7f00_0000_4000, 4096],
      ret: 0,
      captures: [{ slot: 1, side: Out, addr: 0x7f00_0000_4000, bytes: new Uint8Array(0) }],
      refs: fd,
    })
    .call("mmap", { args: [0, 8192 * k, 3, 0x22, -1, 0], ret: 0x7f00_1000_0000 + 4096 * k })
    .call("lseek", { args: [3, 0, 0], ret: 0, refs: fd })
    .call("close", { args: [3], refs: fd });
}

function makeBatch(firstSeq: number): EventBatch {
  const builder = new BatchBuilder(firstSeq);
  for (let k = 0; k < EVENTS_PER_BATCH / 8; k++) addFile(builder, k % objects.length);
  return builder.build();
}

function measure(
  name: string,
  events: number,
  run: (batch: EventBatch, i: number) => number,
): void {
  const batch = makeBatch(1_000_000);
  for (let i = 0; i < batch.count; i++) run(batch, i);
  const start = process.cpuUsage();
  let done = 0;
  let bytes = 0;
  while (done < events) {
    for (let i = 0; i < batch.count; i++) bytes += run(batch, i);
    done += batch.count;
  }
  const { user, system } = process.cpuUsage(start);
  const seconds = (user + system) / 1e6;
  const rate = Math.round(done / seconds).toLocaleString("en-US");
  console.log(`${name.padEnd(8)} ${rate} events/s of CPU, ${Math.round(bytes / done)} bytes/event`);
}

const wanted = Number(process.argv[2] ?? 2_000_000);
const context = trace({ objects, threads: [thread(0, 4711)] });
const writer = new JsonlWriter(context);
measure("fast", wanted, (batch, i) => {
  const before = writer.sink.length;
  writer.event(batch, i);
  const size = writer.sink.length - before;
  if (writer.sink.length > 192 * 1024) writer.sink.take();
  return size;
});
measure("generic", Math.min(wanted, 200_000), (batch, i) => {
  return jsonEvent(batch, i, context, JSON_OPTIONS).length + 1;
});
