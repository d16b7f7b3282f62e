/**
 * Where in which file a code address is, by the load events of the recording: the files of a replay have other names and the
 * same addresses.
 */

import { captureText } from "../decode/event.js";
import { captureBytes, findCapture } from "../decode/memory.js";
import type { Num } from "../decode/value.js";
import { hexText } from "../show/notation.js";
import { CaptureSide, type EventBatch, EventKind } from "../trace/batch.js";
import type { Trace } from "../trace/trace.js";
import { unsigned } from "../trace/word.js";

export interface Place {
  readonly address: Num;
  /** The file as it was recorded, `[vdso]`, `[stack]`; undefined in memory without a name. */
  readonly file: string | undefined;
  /** Offset in the file. */
  readonly offset: number | undefined;
  /** The function by the file's tables, and how far behind its start the place is. */
  readonly symbol: { readonly name: string; readonly offset: number } | undefined;
  /** The line there, by its debug information. */
  readonly source: { readonly file: string; readonly line: number } | undefined;
}

interface Mapping {
  readonly start: Num;
  readonly length: Num;
  readonly offset: Num;
  readonly path: string;
  readonly hash: string;
}

const CLONE_THREAD = 0x10000;

/** Executable mappings of a process at an event, the later ones last. */
async function mappingsAt(trace: Trace, process: number, seq: number): Promise<Mapping[]> {
  const lineage = lineageOf(trace, process);
  const spaces = new Map<number, Mapping[]>();
  const kinds = [EventKind.Task, EventKind.Exec, EventKind.Map];
  const columns = ["base", "args", "captures"] as const;
  for await (const batch of trace.batches({ columns, kinds, to: seq })) {
    for (let i = 0; i < batch.count; i++) {
      const own = trace.threads[batch.thread[i] ?? -1]?.process ?? 0;
      if (lineage.has(own)) noteMapping(trace, spaces, batch, i, own);
    }
  }
  return spaces.get(process) ?? [];
}

/** The process and those that it comes from. */
function lineageOf(trace: Trace, process: number): Set<number> {
  const parents = new Map(trace.processes.map(({ number, parent }) => [number, parent]));
  const found = new Set<number>();
  for (let at = process; at > 0 && !found.has(at); at = parents.get(at) ?? 0) found.add(at);
  return found;
}

function noteMapping(
  trace: Trace,
  spaces: Map<number, Mapping[]>,
  batch: EventBatch,
  i: number,
  own: number,
): void {
  const arg = (k: number) =>
    unsigned(batch.args[12 * i + 2 * k] ?? 0, batch.args[12 * i + 2 * k + 1] ?? 0);
  switch (batch.kind[i]) {
    case EventKind.Task: {
      if ((Number(arg(1)) & CLONE_THREAD) !== 0) return;
      const parent = trace.threads[Number(arg(0)) - 1]?.process ?? 0;
      spaces.set(own, [...(spaces.get(parent) ?? [])]);
      return;
    }
    case EventKind.Exec:
      spaces.set(own, []);
      return;
    case EventKind.Map: {
      const hash = findCapture(batch, i, 2, CaptureSide.In);
      const list = spaces.get(own) ?? [];
      spaces.set(own, list);
      list.push({
        start: arg(0),
        length: arg(1),
        offset: arg(2),
        path: captureText(batch, i, 0) ?? "",
        hash: hash < 0 ? "" : Buffer.from(captureBytes(batch, hash)).toString("hex"),
      });
    }
  }
}

/** What /proc/PID/maps calls the memory at an address, when that is no file: `[stack]`, `[heap]`. */
function specialName(maps: string, address: bigint): string | undefined {
  for (const line of maps.split("\n")) {
    const range = /^([\da-f]{1,16})-([\da-f]{1,16}) .*?(\[[\w:.]+\])$/.exec(line);
    if (range === null) continue;
    const [, from = "", to = "", name] = range;
    if (address >= BigInt(`0x${from}`) && address < BigInt(`0x${to}`)) return name;
  }
  return undefined;
}

/** The places of addresses of a process at an event; `maps` are those of a replayed process, where there is one. */
export async function placesAt(
  trace: Trace,
  process: number,
  seq: number,
  addresses: readonly Num[],
  maps = "",
): Promise<Place[]> {
  const mappings = await mappingsAt(trace, process, seq).catch(
    // A damaged trace has no places; what could be read of it has been.
    (): Mapping[] => [],
  );
  return Promise.all(addresses.map((address) => placeIn(trace, mappings, address, maps)));
}

async function placeIn(
  trace: Trace,
  mappings: readonly Mapping[],
  address: Num,
  maps: string,
): Promise<Place> {
  const wide = BigInt(address);
  const inside = ({ start, length }: Mapping) => {
    const behind = wide - BigInt(start);
    return behind >= 0n && behind < BigInt(length);
  };
  const mapping = mappings.findLast(inside);
  if (mapping === undefined) {
    return {
      address,
      file: specialName(maps, wide),
      offset: undefined,
      symbol: undefined,
      source: undefined,
    };
  }
  const offset = Number(wide - BigInt(mapping.start) + BigInt(mapping.offset));
  const found =
    mapping.hash === "" ? undefined : await trace.sourcesAt(mapping.hash, mapping.path, offset);
  const own = found?.frames.at(-1);
  const name = own?.function;
  const symbol = name === undefined ? undefined : { name, offset: found?.behind ?? 0 };
  return { address, file: mapping.path, offset, symbol, source: lineOf(found?.frames[0]) };
}

/** The innermost line: that of an inlined function, where one is. */
function lineOf(frame: { readonly file?: string; readonly line: number } | undefined) {
  if (frame?.file === undefined || frame.line === 0) return undefined;
  return { file: frame.file, line: frame.line };
}

/** `/lib/libc.so.6+0x10e8f0 (write+0x10)`; the bare address where no file is. */
export function placeText({ address, file, offset, symbol, source }: Place): string {
  if (file === undefined) return `${hexText(address)}, outside of all files`;
  const where =
    offset === undefined ? `${hexText(address)} in ${file}` : `${file}+${hexText(offset)}`;
  if (symbol === undefined) return where;
  const behind = symbol.offset === 0 ? "" : `+${hexText(symbol.offset)}`;
  const line = source === undefined ? "" : ` at ${source.file}:${source.line}`;
  return `${where} (${symbol.name}${behind}${line})`;
}
