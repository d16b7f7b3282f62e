/** Traces of random events: what readers are compared over. */

import fc from "fast-check";
import type { LineSpec } from "./text_trace.js";
import { TextTrace } from "./text_trace.js";

const NAMES = ["openat", "read", "write", "close", "newfstatat", "lseek", "execve", "sendto"];
const PATHS = ["/etc/passwd\0", "sub/../x\0", "\0", `/srv/${"long/".repeat(20)}end\0`, "/a b\0"];
const KINDS = ["call", "signal", "task", "exec", "exit", "map", "stop", "note"] as const;

interface RandomEvent {
  readonly kind: (typeof KINDS)[number] | "named";
  readonly name: string;
  readonly spec: LineSpec;
}

const duration = fc.oneof(
  fc.nat(40),
  fc.nat(100_000),
  fc.integer({ min: 0, max: 2_000_000_000 }),
  fc.integer({ min: 0, max: 2 ** 45 }),
);

const event: fc.Arbitrary<RandomEvent> = fc
  .record({
    kind: fc.oneof(
      { weight: 12, arbitrary: fc.constant("named" as const) },
      fc.constantFrom(...KINDS),
    ),
    name: fc.constantFrom(...NAMES),
    thread: fc.nat(3),
    arch: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.constant(1)),
    code: fc.oneof(fc.nat(500), fc.constantFrom(1023, 1024, 4096, 0x40000001, -5)),
    flags: fc.constantFrom(0, 0, 0, 8, 8, 1, 2, 4, 16, 32, 40),
    ret: fc.oneof(fc.nat(5000), fc.constantFrom(-2, -13, 3)),
    duration,
    path: fc.constantFrom(...PATHS),
    isResolved: fc.boolean(),
    fd: fc.integer({ min: -1, max: 9 }),
    object: fc.nat(3),
    isSpanning: fc.boolean(),
  })
  .map(({ kind, name, duration: length, path, isResolved, fd, object, isSpanning, ...rest }) => {
    const spec = {
      ...rest,
      length,
      span: isSpanning ? 1 : 0,
      args: [fd, 0x1000, 64],
      captures: [
        [name === "execve" ? 0 : 1, "in", 0x1000, path],
        ...(isResolved ? ([[1, "resolved", 0, "/resolved/x"]] as const) : []),
      ] as const,
      refs: [[0, fd, object] as const, ["cwd", -1, 0] as const],
    };
    return { kind, name, spec };
  });

/** Up to some hundred events of four threads. */
export const randomTrace: fc.Arbitrary<TextTrace> = fc
  .array(event, { minLength: 1, maxLength: 300 })
  .map((events) => {
    const trace = new TextTrace()
      .thread(1, 1, 100, 100)
      .thread(1, 2, 101, 100, 0, 0)
      .thread(2, 1, 102, 102, 0, 0)
      .thread(3, 1, 103, 103, 0, 0)
      .object("dir", "/srv")
      .object("file", "/etc/passwd")
      .object("pipe", "pipe:[17]")
      .object("file", "/srv/data");
    let clock = 0;
    events.forEach(({ kind, name, spec }, k) => {
      const { length = 0, ...line } = spec as LineSpec & { readonly length?: number };
      // Ends come in order, as events are committed.
      const start = Math.max(0, clock - (k % 7));
      clock = kind === "named" || kind === "call" ? start + length : start;
      const whole = { ...line, start, end: clock, span: Math.min(line.span ?? 0, k) };
      if (kind === "named") trace.call(name, { ...whole, arch: 0 });
      else trace.event(kind, whole);
    });
    return trace;
  });
