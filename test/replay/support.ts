/** Desyncs written by hand, recordings that are changed afterwards, and the real `trace replay`. */

import { readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { native } from "../../src/native.js";
import type { Desync } from "../../src/replay.js";
import { EventFlag } from "../../src/trace/batch.js";
import { unwrap } from "../../src/trace/failure.js";
import { openTrace } from "../../src/trace/open.js";
import { cli, type Ended, type RunOptions, run, stateOf } from "../record/support.js";
import { BatchBuilder, type EventSpec } from "../support/batch.js";
import { syscallNumber } from "../support/number.js";

/** A difference at an event. What came, if anything, is an event as the engine hands it over. */
export function desync(seq: number, spec: Partial<Desync> & { readonly reason: string }): Desync {
  return {
    seq,
    thread: 0,
    argument: undefined,
    memory: undefined,
    result: undefined,
    actual: undefined,
    maps: "",
    frames: [],
    script: [],
    ...spec,
  };
}

/** A call that came in place of event `seq`. */
export function cameCall(
  seq: number,
  name: string,
  spec: Omit<EventSpec, "code" | "kind"> & { readonly ip?: number } = {},
): Desync["actual"] {
  const code = syscallNumber(name, spec.arch ?? 0);
  const batch = new BatchBuilder(seq)
    .event({ ...spec, code, flags: EventFlag.NoResult, start: 0, duration: 0 })
    .build();
  return {
    kind: "call",
    code,
    batch: { ...batch, ip: words(spec.ip ?? 0x401000), sp: words(0x7ffc0000) },
  };
}

/** Another event that came in place of event `seq`. */
export function came(
  kind: "signal" | "ended" | "held",
  seq: number,
  spec: EventSpec & { readonly ip?: number },
): Desync["actual"] {
  const batch = new BatchBuilder(seq).event(spec).build();
  return {
    kind,
    code: spec.code,
    batch: { ...batch, ip: words(spec.ip ?? 0x401000), sp: words(0x7ffc0000) },
  };
}

function words(value: number): Uint32Array {
  return Uint32Array.of(value % 2 ** 32, Math.floor(value / 2 ** 32));
}

/** The words that replay `file`. */
export function replayWords(file: string, ...options: string[]): string[] {
  return [cli, "replay", ...options, file];
}

/** Replays `file` with the files that its recording kept beside it. */
export function replay(
  file: string,
  options: readonly string[] = [],
  more: RunOptions = {},
): Promise<Ended> {
  const env = { ...stateOf(dirname(file)), ...more.env };
  return run(replayWords(file, ...options), { ...more, env });
}

/** One event of the text form: its line, and those of its memory and descriptors. */
export interface TextEvent {
  seq: number;
  kind: string;
  /** From `thread=` on. */
  fields: Record<string, string>;
  more: string[];
}

/** The text form of a trace in parts. */
export interface TextParts {
  readonly head: string[];
  readonly events: TextEvent[];
  readonly tail: string[];
}

export async function partsOf(file: string): Promise<TextParts> {
  const trace = await openTrace(file);
  await trace.dumpText(`${file}.txt`, true);
  trace.close();
  const parts: TextParts = { head: [], events: [], tail: [] };
  for (const line of readFileSync(`${file}.txt`, "latin1").trimEnd().split("\n")) {
    const [, seq, kind = "", rest = ""] = /^event (\d+) (\w+) (.*)$/.exec(line) ?? [];
    const last = parts.events.at(-1);
    if (seq !== undefined) {
      const pairs = rest.split(" ").map((word) => word.split("=") as [string, string]);
      parts.events.push({ seq: Number(seq), kind, fields: Object.fromEntries(pairs), more: [] });
    } else if (last === undefined) parts.head.push(line);
    else if (parts.tail.length === 0 && line.startsWith("  ")) last.more.push(line);
    else parts.tail.push(line);
  }
  return parts;
}

/** Makes a trace of the parts; events are numbered anew. */
export async function assemble(parts: TextParts, file: string): Promise<string> {
  const lines = parts.events.flatMap(({ kind, fields, more }, seq) => {
    const words = Object.entries(fields).map(([key, value]) => `${key}=${value}`);
    return [`event ${seq} ${kind} ${words.join(" ")}`, ...more];
  });
  const text = [...parts.head, ...lines, ...parts.tail].join("\n");
  writeFileSync(`${file}.txt`, `${text}\n`, "latin1");
  unwrap(await native().assembleText(`${file}.txt`, file, true));
  return file;
}

/** The calls of that name, x86-64's. */
export function callsOf(parts: TextParts, name: string): TextEvent[] {
  const code = String(syscallNumber(name, 0));
  return parts.events.filter(({ kind, fields }) => kind === "call" && fields.code === code);
}
