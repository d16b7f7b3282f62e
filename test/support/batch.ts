/** Event batches written by hand: what a reader would hand over, for tests of everything that stands on it. */

import type { TraceContext } from "../../src/decode/context.js";
import {
  CaptureSide,
  CaptureStatus,
  type EventBatch,
  EventFlag,
  EventKind,
  type FdObject,
  NO_CONTENT,
  Slot,
  type ThreadInfo,
} from "../../src/trace/batch.js";
import { syscallNumber } from "./number.js";

type Int = number | bigint;

export interface CaptureSpec {
  readonly slot: number;
  readonly side?: number;
  readonly addr?: Int;
  /** Left out: a capture without content. A string is ended by a NUL. */
  readonly bytes?: Uint8Array | string;
  readonly wanted?: number;
  readonly status?: number;
}

export interface RefSpec {
  readonly slot: number;
  readonly fd?: number;
  readonly object: number;
}

export interface EventSpec {
  readonly kind?: number;
  readonly code: number;
  readonly arch?: number;
  readonly args?: readonly Int[];
  readonly ret?: Int;
  readonly flags?: number;
  readonly thread?: number;
  readonly start?: number;
  readonly duration?: number;
  readonly span?: number;
  readonly captures?: readonly CaptureSpec[];
  readonly refs?: readonly RefSpec[];
}

const encoder = new TextEncoder();

/** A NUL-terminated string. */
export function cstr(text: string): Uint8Array {
  return encoder.encode(`${text}\0`);
}

/** Little-endian bytes of fields given as [size in bytes, value]. */
export function pack(
  ...fields: readonly (readonly [size: 1 | 2 | 4 | 8, value: Int])[]
): Uint8Array {
  const out = new Uint8Array(fields.reduce((sum, [size]) => sum + size, 0));
  let at = 0;
  for (const [size, value] of fields) {
    let rest = BigInt.asUintN(64, BigInt(value));
    for (let k = 0; k < size; k++) {
      out[at++] = Number(rest & 255n);
      rest >>= 8n;
    }
  }
  return out;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function words(value: Int): [number, number] {
  const wide = BigInt.asUintN(64, BigInt(value));
  return [Number(wide & 0xffff_ffffn), Number(wide >> 32n)];
}

export class BatchBuilder {
  readonly firstSeq: number;
  readonly #events: EventSpec[] = [];

  constructor(firstSeq = 0) {
    this.firstSeq = firstSeq;
  }

  event(spec: EventSpec): this {
    this.#events.push(spec);
    return this;
  }

  /** A call by its name. A negative result is a failure, unless `flags` says otherwise. */
  call(name: string, spec: Omit<EventSpec, "code" | "kind"> = {}): this {
    const ret = spec.ret ?? 0;
    return this.event({
      ...spec,
      kind: EventKind.Call,
      code: syscallNumber(name, spec.arch ?? 0),
      flags: spec.flags ?? (ret < 0 && ret >= -4095 ? EventFlag.Error : 0),
    });
  }

  build(): EventBatch {
    const events = this.#events;
    const captures = events.flatMap((event) => event.captures ?? []);
    const refs = events.flatMap((event) => event.refs ?? []);
    const contents = new Contents();
    const capContent = captures.map(({ bytes }) =>
      bytes === undefined ? NO_CONTENT : contents.add(bytes),
    );
    return {
      count: events.length,
      firstSeq: this.firstSeq,
      kind: Uint8Array.from(events, (event) => event.kind ?? EventKind.Call),
      flags: Uint8Array.from(events, (event) => event.flags ?? 0),
      arch: Uint8Array.from(events, (event) => event.arch ?? 0),
      code: Int32Array.from(events, (event) => event.code),
      thread: Uint32Array.from(events, (event) => event.thread ?? 0),
      start: Float64Array.from(events, (event, k) => event.start ?? k * 1000),
      duration: Float64Array.from(events, (event) => event.duration ?? 500),
      span: Uint32Array.from(events, (event) => event.span ?? 0),
      ret: Int32Array.from(events.flatMap((event) => words(event.ret ?? 0))),
      args: Uint32Array.from(
        events.flatMap((event) => [0, 1, 2, 3, 4, 5].flatMap((k) => words(event.args?.[k] ?? 0))),
      ),
      ip: new Uint32Array(2 * events.length),
      sp: new Uint32Array(2 * events.length),
      capStart: starts(events.map((event) => event.captures?.length ?? 0)),
      capSlot: Uint8Array.from(captures, (capture) => capture.slot),
      capSide: Uint8Array.from(captures, (capture) => capture.side ?? CaptureSide.In),
      capStatus: Uint8Array.from(captures, (capture) => capture.status ?? CaptureStatus.Whole),
      capAddr: Uint32Array.from(captures.flatMap((capture) => words(capture.addr ?? 0))),
      capWanted: Float64Array.from(
        captures,
        (capture) =>
          capture.wanted ?? (capture.bytes === undefined ? 0 : contents.size(capture.bytes)),
      ),
      capContent: Uint32Array.from(capContent),
      ...contents.columns(),
      refStart: starts(events.map((event) => event.refs?.length ?? 0)),
      refSlot: Uint8Array.from(refs, (ref) => ref.slot),
      refFd: Int32Array.from(refs, (ref) => ref.fd ?? -1),
      refObject: Uint32Array.from(refs, (ref) => ref.object),
    };
  }
}

function starts(counts: readonly number[]): Uint32Array {
  const out = new Uint32Array(counts.length + 1);
  for (let k = 0; k < counts.length; k++) out[k + 1] = (out[k] ?? 0) + (counts[k] ?? 0);
  return out;
}

/** Contents of a batch: equal ones share an index. */
class Contents {
  readonly #index = new Map<string, number>();
  readonly #parts: Uint8Array[] = [];

  add(bytes: Uint8Array | string): number {
    const part = typeof bytes === "string" ? cstr(bytes) : bytes;
    const key = Buffer.from(part).toString("latin1");
    const known = this.#index.get(key);
    if (known !== undefined) return known;
    this.#index.set(key, this.#parts.length);
    return this.#parts.push(part) - 1;
  }

  size(bytes: Uint8Array | string): number {
    return typeof bytes === "string" ? cstr(bytes).length : bytes.length;
  }

  columns(): { contentStart: Uint32Array; bytes: Uint8Array } {
    return {
      contentStart: starts(this.#parts.map((part) => part.length)),
      bytes: concat(...this.#parts),
    };
  }
}

export function thread(index: number, tid: number, spec: Partial<ThreadInfo> = {}): ThreadInfo {
  return {
    index,
    process: index + 1,
    ordinal: 1,
    tid,
    pid: tid,
    parent: -1,
    createdBy: 0,
    ...spec,
  };
}

export function object(id: number, path: string, spec: Partial<FdObject> = {}): FdObject {
  return { id, kind: "file", path, dev: 0, ino: 0, detail: "", createdBy: -1, ...spec };
}

export function trace(spec: Partial<TraceContext> = {}): TraceContext {
  return {
    threads: [thread(0, 100)],
    objects: [],
    startSeconds: 1_700_000_000,
    startNanos: 0,
    ...spec,
  };
}

export { CaptureSide, CaptureStatus, EventFlag, EventKind, Slot };
