/** What a trace says of itself: the recording, the file, and what could not be captured. */

import type { NativeHeader } from "../native.js";

/** Things that were recorded as missing. */
export interface LostCounts {
  readonly memory: number;
  readonly tasks: number;
  readonly descriptors: number;
  readonly unknownCalls: number;
}

export interface TraceInfo {
  /** Version of the file's format, `1.0`. */
  readonly version: string;
  readonly id: string;
  /** Nanoseconds of one unit of time. */
  readonly tick: number;
  /** The recorded command line; empty when the file does not say. */
  readonly command: readonly string[];
  readonly cwd: string | undefined;
  /** What could not be captured; undefined when the file does not say (cut, or still recording). */
  readonly lost: LostCounts | undefined;
  /** What the recorder had to remark, a line each. */
  readonly notes: readonly string[];
  /** Wait status of the program that was recorded, when it is known. */
  readonly status: number | undefined;
  /** All facts about the recording, as text, in the order of the file. */
  readonly facts: ReadonlyMap<string, string>;
  /** Bytes of the whole file and of its parts. */
  readonly bytes: {
    readonly total: number;
    readonly events: number;
    readonly content: number;
    readonly definitions: number;
    readonly objects: number;
  };
  readonly objectCount: number;
  /** @internal */
  readonly definitionsDamaged: boolean;
}

const utf8 = new TextDecoder();

/** The words of a JSON list; none when it is not one. */
function commandOf(text: string | undefined): string[] {
  try {
    const words: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(words) ? words.map(String) : [];
  } catch {
    return [];
  }
}

export function traceInfo(header: NativeHeader): TraceInfo {
  const facts = new Map<string, string>();
  header.metaKeys.forEach((key, k) => {
    facts.set(key, utf8.decode(header.metaValues[k]));
  });
  const { totals } = header;
  return {
    version: `${header.versionMajor}.${header.versionMinor}`,
    id: header.id,
    tick: header.tick,
    command: commandOf(facts.get("argv")),
    cwd: facts.get("cwd"),
    lost: lostOf(facts.get("lost")),
    notes: (facts.get("notes") ?? "").split("\n").filter((line) => line !== ""),
    status: wholeNumber(facts.get("status")),
    facts,
    bytes: {
      total: totals.bytes,
      events: totals.bytesEvents,
      content: totals.bytesContent,
      definitions: totals.bytesDefinitions,
      objects: totals.bytesObjects,
    },
    objectCount: header.objects,
    definitionsDamaged: header.definitionsDamage !== null,
  };
}

export interface Replayability {
  /** `replayable`: it was recorded in order to be replayed; `observe`: programs ran freely. */
  readonly mode: "replayable" | "observe";
  /** The options that made it a recording to look at, as they were given: `--backend=notify`. Not all traces of that mode say. */
  readonly observedBy: readonly string[];
  /** What happened that keeps a replayable recording from being replayed exactly, a reason each. */
  readonly obstacles: readonly string[];
}

/** What the recorder says of replaying its trace. Traces that do not say cannot be replayed. */
export function replayability({ facts }: Pick<TraceInfo, "facts">): Replayability {
  const lines = (facts.get("unreplayable") ?? "").split("\n");
  return {
    mode: facts.get("mode") === "replayable" ? "replayable" : "observe",
    observedBy: (facts.get("observed_by") ?? "").split(" ").filter((word) => word !== ""),
    obstacles: lines.filter((line) => line !== ""),
  };
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function lostOf(text: string | undefined): LostCounts | undefined {
  if (text === undefined) return undefined;
  const [memory = 0, tasks = 0, descriptors = 0, unknownCalls = 0] = text
    .split(" ")
    .map((word) => wholeNumber(word) ?? 0);
  return { memory, tasks, descriptors, unknownCalls };
}

/** A wait status in words. */
export function statusText(status: number): string {
  const signal = status & 0x7f;
  if (signal === 0) return `exit ${(status >> 8) & 0xff}`;
  return `killed by signal ${signal}${(status & 0x80) === 0 ? "" : " (core dumped)"}`;
}
