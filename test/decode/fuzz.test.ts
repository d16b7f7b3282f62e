/** Decoding takes whatever a trace says: it never throws, and what it gives can always be shown. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeCall } from "../../src/decode/call.js";
import { I386, X86_64 } from "../../src/decode/names.generated.js";
import { SYSCALLS } from "../../src/decode/tables.generated.js";
import { JSON_OPTIONS, jsonEvent } from "../../src/show/json.js";
import { JsonlWriter } from "../../src/show/jsonl.js";
import { STRACE_NOTATION } from "../../src/show/notation.js";
import { STRACE_OPTIONS, StraceWriter, wholeCallText } from "../../src/show/strace.js";
import { TEXT_OPTIONS, TextWriter } from "../../src/show/text.js";
import type { EventBatch } from "../../src/trace/batch.js";
import {
  BatchBuilder,
  type CaptureSpec,
  type EventSpec,
  object,
  pack,
  thread,
  trace,
} from "../support/batch.js";

const context = trace({
  threads: [thread(0, 100), thread(1, 101, { process: 1, ordinal: 2 })],
  objects: [
    object(0, "/tmp/a b<c>"),
    object(1, "socket:[1]", { kind: "socket", detail: "NETLINK:[ROUTE:100]" }),
    object(2, "socket:[2]", { kind: "socket", detail: "NETLINK:[SOCK_DIAG:100]" }),
    object(3, "/gone (deleted)"),
  ],
});

/** Addresses that arguments and captures are likely to share. */
const ADDRESSES = [0x1000, 0x1008, 0x2000, 0x3000, 0x3010, 0x7ffe_0000_0000];

const word = fc.oneof(
  fc.constantFrom<number | bigint>(0, 1, 2, 3, 4, 8, 16, 24, 56, 64, 88, 128, ...ADDRESSES),
  fc.integer({ min: -4096, max: 0x1_0000 }),
  fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
  fc.constantFrom(0x541b, 0x5401, 0x8912, 0x8913, 0x8910, 0x8927, 0xc020660b, 0x80086601),
);

/** Bytes that are often words, small numbers and addresses rather than noise. */
const memory = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .array(word, { maxLength: 24 })
    .map((words) => pack(...words.map((value) => [8, value] as const))),
  fc
    .array(fc.integer({ min: 0, max: 64 }), { maxLength: 40 })
    .map((words) => pack(...words.map((value) => [4, value] as const))),
  fc.string({ maxLength: 60 }).map((text) => new TextEncoder().encode(`${text}\0`)),
);

const capture: fc.Arbitrary<CaptureSpec> = fc.record({
  slot: fc.integer({ min: 0, max: 9 }),
  side: fc.integer({ min: 0, max: 3 }),
  addr: word,
  bytes: memory,
  wanted: fc.oneof(fc.nat(300), fc.constantFrom(2 ** 40, Number.NaN)),
  status: fc.integer({ min: 0, max: 4 }),
});

function event(code: fc.Arbitrary<number>, arch: fc.Arbitrary<number>): fc.Arbitrary<EventSpec> {
  return fc.record({
    kind: fc.constant(0),
    code,
    arch,
    args: fc.array(word, { minLength: 6, maxLength: 6 }),
    ret: fc.oneof(word, fc.constantFrom(0, 0, 1, 2, 8, 16, 100)),
    flags: fc.constantFrom(0, 0, 0, 1, 2, 4, 8, 16, 31),
    thread: fc.nat(3),
    captures: fc.array(capture, { maxLength: 6 }),
    refs: fc.array(
      fc.record({ slot: fc.nat(9), fd: fc.integer({ min: -1, max: 8 }), object: fc.nat(6) }),
      { maxLength: 4 },
    ),
  });
}

const arch = fc.constantFrom(0, 1);
const anyCall = event(fc.integer({ min: -2, max: 600 }), arch);
const anyEvent = fc
  .tuple(fc.integer({ min: 1, max: 9 }), event(fc.integer({ min: -2, max: 0x1_0000 }), arch))
  .map(([kind, spec]) => ({ ...spec, kind }));

/** Every way of showing the events; throws what they throw. */
function showAll(batch: EventBatch): void {
  const strace = new StraceWriter({ trace: context }, STRACE_OPTIONS);
  const verbose = { ...STRACE_NOTATION, verbose: true, descriptors: "full" as const };
  const text = new TextWriter(context, { ...TEXT_OPTIONS, notation: verbose });
  const jsonl = new JsonlWriter(context);
  for (let i = 0; i < batch.count; i++) {
    if (batch.kind[i] === 0) strace.call(batch, i);
    else strace.event(batch, i);
    text.line(batch, i);
    jsonl.event(batch, i);
  }
  for (const line of jsonl.sink.take().toString().trimEnd().split("\n")) JSON.parse(line);
  expect(strace.take()).not.toContain("undefined");
}

describe("hostile events", () => {
  test("calls of any number", () => {
    fc.assert(
      fc.property(fc.array(anyCall, { minLength: 1, maxLength: 8 }), (specs) => {
        const builder = new BatchBuilder();
        for (const spec of specs) builder.event(spec);
        showAll(builder.build());
      }),
      { numRuns: 3000 },
    );
  });

  test("each syscall of the table", () => {
    const numbers = [X86_64, I386].flatMap((table, abi) =>
      [...table.keys()].filter((n) => (table[n] ?? -1) >= 0).map((n) => [abi, n] as const),
    );
    expect(numbers.length).toBeGreaterThan(SYSCALLS.length / 2);
    for (const [abi, number] of numbers) {
      const [specs = []] = fc.sample(
        fc.array(event(fc.constant(number), fc.constant(abi)), { minLength: 20, maxLength: 20 }),
        { numRuns: 1, seed: number + 1000 * abi },
      );
      const builder = new BatchBuilder();
      for (const spec of specs) builder.event(spec);
      showAll(builder.build());
    }
  });

  test("events of any kind", () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { minLength: 1, maxLength: 8 }), (specs) => {
        const builder = new BatchBuilder();
        for (const spec of specs) builder.event(spec);
        showAll(builder.build());
      }),
      { numRuns: 1000 },
    );
  });

  test("columns that point outside", () => {
    fc.assert(
      fc.property(anyCall, fc.array(fc.nat(), { minLength: 12, maxLength: 12 }), (spec, noise) => {
        const batch = new BatchBuilder().event(spec).build();
        const wild = (from: number, length: number) =>
          Uint32Array.from({ length }, (_, k) => noise[(from + k) % noise.length] ?? 0);
        const damaged: EventBatch = {
          ...batch,
          capStart: wild(0, 2).sort(),
          capContent: wild(2, batch.capContent.length),
          contentStart: wild(4, batch.contentStart.length),
          refStart: wild(6, 2),
          refObject: wild(8, batch.refObject.length),
          start: Float64Array.of(Number.NaN),
          duration: Float64Array.of(Number.POSITIVE_INFINITY),
        };
        showAll(damaged);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("the fast JSONL writer", () => {
  test("writes what the generic one does", () => {
    const numbers = fc.oneof(
      fc.constantFrom(...X86_64.keys()),
      fc.constantFrom(0, 1, 2, 3, 4, 5, 8, 9, 17, 79, 89, 257, 262, 318, 332, 41, 63, 99),
    );
    const spec = event(numbers, fc.constant(0));
    fc.assert(
      fc.property(spec, fc.constantFrom(0, 5, 32, 1000), (one, stringLimit) => {
        const options = { ...JSON_OPTIONS, stringLimit };
        const batch = new BatchBuilder(7).event(aimed(one)).build();
        const writer = new JsonlWriter(context, options);
        writer.event(batch, 0);
        expect(writer.sink.take().toString()).toBe(`${jsonEvent(batch, 0, context, options)}\n`);
      }),
      { numRuns: 20_000 },
    );
  });
});

/** The same event with its captures where the arguments point, so that most of them are found. */
function aimed(spec: EventSpec): EventSpec {
  const captures = spec.captures?.map((one) => {
    const target = spec.args?.[one.slot];
    return one.slot < 6 && target !== undefined ? { ...one, addr: target } : one;
  });
  return captures === undefined ? spec : { ...spec, captures };
}

test("an unknown call shows its raw words", () => {
  const batch = new BatchBuilder()
    .event({ code: 500, args: [1, 2, 3, 4, 5, 6], ret: -38, flags: 8 })
    .build();
  const text = wholeCallText(decodeCall(batch, 0, context), STRACE_NOTATION);
  expect(text).toBe(
    "syscall_0x1f4(0x1, 0x2, 0x3, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)",
  );
});
