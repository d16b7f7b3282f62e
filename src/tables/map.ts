/** Tables `map` and `elf`: what was mapped into memory, and the programs and libraries among it. */

import { decodeCall } from "../decode/call.js";
import { captureText } from "../decode/event.js";
import { captureBytes, findCapture } from "../decode/memory.js";
import type { Value } from "../decode/value.js";
import { CallFacts } from "../query/facts.js";
import { CaptureSide, type EventBatch, EventFlag, EventKind } from "../trace/batch.js";
import { CALL_COLUMNS } from "../trace/columns.js";
import { processName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { unsigned } from "../trace/word.js";
import { type Row, rowTable } from "./builder.js";
import type { TableColumn } from "./table.js";

const columns: readonly TableColumn[] = [
  { name: "seq", type: "int", doc: "event number", nullable: false },
  { name: "time", type: "int", unit: "ns since start", doc: "when it was mapped", nullable: false },
  { name: "proc", type: "text", doc: "process that it is in", nullable: true },
  {
    name: "source",
    type: "text",
    doc: "mmap: a call; exec: the kernel, when it started a program",
    nullable: false,
  },
  { name: "base", type: "word", doc: "first address", nullable: false },
  { name: "length", type: "int", unit: "bytes", doc: "bytes that were asked for", nullable: false },
  { name: "prot", type: "text", doc: "PROT_READ|PROT_EXEC, ...", nullable: false },
  { name: "flags", type: "text", doc: "MAP_PRIVATE|MAP_FIXED, ... of a call", nullable: true },
  { name: "path", type: "text", doc: "file that is mapped; none: memory", nullable: true },
  {
    name: "offset",
    type: "int",
    unit: "bytes",
    doc: "where in the file it begins",
    nullable: true,
  },
];

export const map = rowTable(
  { name: "map", doc: "every mapping that a call or the start of a program made", columns },
  async function* (trace) {
    const facts = new CallFacts(trace);
    // By process: where its last mmap mapped. The event for a file of code that follows it is the same mapping.
    const last = new Map<number, number | bigint>();
    for await (const batch of trace.batches({ columns: CALL_COLUMNS })) {
      for (let i = 0; i < batch.count; i++) {
        const process = trace.threads[batch.thread[i] ?? -1]?.process ?? 0;
        if (batch.kind[i] === EventKind.Map) {
          const base = unsigned(batch.args[12 * i] ?? 0, batch.args[12 * i + 1] ?? 0);
          if (last.get(process) !== base) yield mappedAtExec(batch, i, process, base);
        } else if (isMmap(facts, batch, i)) {
          const base = unsigned(batch.ret[2 * i] ?? 0, batch.ret[2 * i + 1] ?? 0);
          last.set(process, base);
          yield mappedByCall(trace, batch, i, process, base);
        }
      }
    }
  },
);

function isMmap(facts: CallFacts, batch: EventBatch, i: number): boolean {
  if (((batch.flags[i] ?? 0) & EventFlag.Interrupted) !== 0 || !facts.succeeded(batch, i))
    return false;
  const name = facts.shape(batch, i)?.name;
  return name === "mmap" || name === "mmap2" || name === "mmap_pgoff";
}

function mappedByCall(
  trace: Trace,
  batch: EventBatch,
  i: number,
  process: number,
  base: number | bigint,
): Row {
  const { args } = decodeCall(batch, i, trace);
  const value = (k: number) => args[k]?.value;
  const fd = value(4);
  const path = fd?.kind === "fd" ? fd.object?.path : undefined;
  return [
    batch.firstSeq + i,
    batch.start[i],
    processName(process),
    "mmap",
    base,
    numberOf(value(1)),
    flagsText(value(2)),
    flagsText(value(3)),
    path,
    path === undefined ? undefined : numberOf(value(5)),
  ];
}

function mappedAtExec(batch: EventBatch, i: number, process: number, base: number | bigint): Row {
  const word = (k: number) =>
    unsigned(batch.args[12 * i + 2 * k] ?? 0, batch.args[12 * i + 2 * k + 1] ?? 0);
  return [
    batch.firstSeq + i,
    batch.start[i],
    processName(process),
    "exec",
    base,
    Number(word(1)),
    protText(Number(word(3))),
    undefined,
    captureText(batch, i, 0) || undefined,
    Number(word(2)),
  ];
}

/** As mman-common.h has them. */
function protText(bits: number): string {
  const names = ["PROT_READ", "PROT_WRITE", "PROT_EXEC"].filter(
    (_, bit) => (bits & (1 << bit)) !== 0,
  );
  return names.length === 0 ? "PROT_NONE" : names.join("|");
}

function numberOf(value: Value | undefined): number | undefined {
  if (value?.kind === "int") return Number(value.value);
  return value?.kind === "pointer" ? Number(value.addr) : undefined;
}

function flagsText(value: Value | undefined): string | undefined {
  if (value?.kind === "symbol") return value.text;
  if (value?.kind !== "flags" && value?.kind !== "choice") return undefined;
  if (value.kind === "choice") return value.name ?? String(value.value);
  const rest = Number(value.rest) === 0 ? [] : [`0x${value.rest.toString(16)}`];
  return [...value.names, ...rest].join("|") || "0";
}

const elfColumns: readonly TableColumn[] = [
  { name: "path", type: "text", doc: "the file", nullable: false },
  { name: "build_id", type: "text", doc: "its build id, hexadecimal", nullable: true },
  { name: "hash", type: "text", doc: "BLAKE3 of its content, hexadecimal", nullable: true },
  { name: "first_seq", type: "int", doc: "event number of its first mapping", nullable: false },
  {
    name: "first",
    type: "int",
    unit: "ns since start",
    doc: "when it was mapped first",
    nullable: false,
  },
  { name: "maps", type: "int", doc: "how often it was mapped as code", nullable: false },
  { name: "procs", type: "int", doc: "in how many processes", nullable: false },
];

interface Image {
  readonly path: string;
  readonly buildId: string | undefined;
  readonly hash: string | undefined;
  readonly firstSeq: number;
  readonly first: number;
  maps: number;
  readonly processes: Set<number>;
}

export const elf = rowTable(
  { name: "elf", doc: "every program and library that was mapped as code", columns: elfColumns },
  async function* (trace) {
    const images = new Map<string, Image>();
    let failure: unknown;
    try {
      for await (const batch of trace.batches({ columns: CALL_COLUMNS, kinds: [EventKind.Map] })) {
        for (let i = 0; i < batch.count; i++) {
          if (batch.kind[i] === EventKind.Map) noteImage(images, trace, batch, i);
        }
      }
    } catch (error) {
      failure = error;
    }
    for (const { path, buildId, hash, firstSeq, first, maps, processes } of images.values()) {
      yield [path, buildId, hash, firstSeq, first, maps, processes.size];
    }
    if (failure !== undefined) throw failure;
  },
);

const BUILD_ID = 1;
const HASH = 2;

function noteImage(images: Map<string, Image>, trace: Trace, batch: EventBatch, i: number): void {
  const path = captureText(batch, i, 0) ?? "";
  const [buildId, hash] = [BUILD_ID, HASH].map((slot) => {
    const capture = findCapture(batch, i, slot, CaptureSide.In);
    const bytes = capture < 0 ? undefined : captureBytes(batch, capture);
    return bytes === undefined || bytes.length === 0
      ? undefined
      : Buffer.from(bytes).toString("hex");
  });
  const key = `${path}\0${hash ?? ""}`;
  let image = images.get(key);
  if (image === undefined) {
    const [firstSeq, first] = [batch.firstSeq + i, batch.start[i] ?? 0];
    image = { path, buildId, hash, firstSeq, first, maps: 0, processes: new Set() };
    images.set(key, image);
  }
  image.maps += 1;
  image.processes.add(trace.threads[batch.thread[i] ?? -1]?.process ?? 0);
}
