/** One call as strace would write it: for tests of decoders, which stand between bytes in memory and that line. */

import { decodeCall } from "../../src/decode/call.js";
import { STRACE_NOTATION } from "../../src/show/notation.js";
import { wholeCallText } from "../../src/show/strace.js";
import {
  BatchBuilder,
  CaptureSide,
  type CaptureSpec,
  type EventSpec,
  object,
  type RefSpec,
  Slot,
  trace,
} from "./batch.js";

type Int = number | bigint;

const context = trace({
  objects: [
    object(0, "/dev/null", { kind: "chr" }),
    object(1, "anon_inode:bpf-prog", { kind: "anon" }),
    object(2, "anon_inode:bpf-map", { kind: "anon" }),
    object(3, "socket:[21]", { kind: "socket" }),
  ],
});

/** Objects of the test's descriptors, by what they are. */
export const OBJECT = { null: 0, prog: 1, map: 2, socket: 3 } as const;

/** Memory that the kernel reads. */
export function input(addr: Int, bytes: Uint8Array | string, slot = 0): CaptureSpec {
  return { slot, addr, bytes, side: CaptureSide.In };
}

/** Memory that the kernel wrote. */
export function output(addr: Int, bytes: Uint8Array | string, slot = 0): CaptureSpec {
  return { slot, addr, bytes, side: CaptureSide.Out };
}

/** A descriptor that memory names. */
export function named(fd: number, index: number): RefSpec {
  return { slot: Slot.Nested, fd, object: index };
}

type Spec = Omit<EventSpec, "code" | "kind">;

/** `name(args) = result`; blanks before the `=` are one. */
export function line(name: string, spec: Spec, verbose = false): string {
  const batch = new BatchBuilder().call(name, spec).build();
  const call = decodeCall(batch, 0, context);
  return wholeCallText(call, { ...STRACE_NOTATION, verbose }).replace(/\) +=/, ") =");
}

export const zeros = (count: number): Uint8Array => new Uint8Array(count);
