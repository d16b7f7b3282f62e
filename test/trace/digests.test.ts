/** What the reader says of the bytes that it does not hand over, against the bytes. */

import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { forPieces, NOT_OK } from "../../src/diff/canon/pieces.js";
import { Plans } from "../../src/diff/canon/plan.js";
import { RuleSet } from "../../src/diff/rules.js";
import { type EventBatch, EventKind, NO_CONTENT, openTrace, type Trace } from "../../src/index.js";
import { CALL_COLUMNS } from "../../src/trace/columns.js";
import { crc32, crc32c } from "../crc.js";
import { one } from "../diff/written.js";
import { temporaryFolder } from "../support/text_trace.js";

const plans = new Plans(new RuleSet([], {}));
const traces = readdirSync("traces").filter((name) => name.endsWith(".trace"));

async function* both(trace: Trace): AsyncGenerator<readonly [EventBatch, EventBatch]> {
  const plain = trace.batches({ columns: CALL_COLUMNS });
  for await (const digested of trace.batches({ moves: plans.moves })) {
    const { value } = await plain.next();
    yield [value as EventBatch, digested];
  }
}

/** Contents that something else than a digested move speaks of. */
function handedOver(batch: EventBatch): Set<number> {
  const found = new Set<number>();
  for (let i = 0; i < batch.count; i++) {
    const plan = planOf(batch, i);
    for (let c = batch.capStart[i] ?? 0; c < (batch.capStart[i + 1] ?? 0); c++) {
      const isMove =
        plan?.digested === true &&
        plan.data?.slot === batch.capSlot[c] &&
        batch.capSide[c] === (plan.data?.out === true ? 1 : 0);
      if (!isMove) found.add(batch.capContent[c] ?? NO_CONTENT);
    }
  }
  found.delete(NO_CONTENT);
  return found;
}

function planOf(batch: EventBatch, i: number) {
  if (batch.kind[i] !== EventKind.Call) return undefined;
  return plans.of(batch.arch[i] ?? 0, batch.code[i] ?? -1);
}

function contentOf({ bytes, contentStart }: EventBatch, content: number): Buffer {
  return Buffer.from(bytes.subarray(contentStart[content], contentStart[content + 1]));
}

function expectMoved(plain: EventBatch, digested: EventBatch, i: number): number {
  const plan = planOf(plain, i);
  const pieces: Buffer[] = [];
  if (plan?.digested === true && plan.data !== undefined) {
    const isOk = ((plain.flags[i] ?? 0) & NOT_OK) === 0;
    if (isOk) forPieces(plain, i, plan.data, (piece) => pieces.push(Buffer.from(piece)));
  }
  const bytes = Buffer.concat(pieces);
  const { moved, movedLength } = digested.digests ?? {};
  expect([movedLength?.[i], moved?.[2 * i], moved?.[2 * i + 1]]).toEqual([
    ...[bytes.length, crc32(bytes), crc32c(bytes)],
  ]);
  return bytes.length;
}

/** Compares all that is digested of a trace; how many bytes each event moved. */
async function expectDigests(path: string): Promise<number[]> {
  const trace = await openTrace(path);
  const lengths: number[] = [];
  try {
    for await (const [plain, digested] of both(trace)) {
      expect(digested.args).toEqual(plain.args);
      expect(digested.capContent).toEqual(plain.capContent);
      const wanted = handedOver(plain);
      for (let content = 0; content + 1 < plain.contentStart.length; content++) {
        const bytes = contentOf(plain, content);
        const expected = wanted.has(content) ? bytes : Buffer.alloc(0);
        expect(contentOf(digested, content).equals(expected)).toBe(true);
        const digest = (crc32c(bytes) & 0x1f_ffff) * 2 ** 32 + crc32(bytes);
        expect(digested.digests?.content[content]).toBe(wanted.has(content) ? digest : 0);
      }
      for (let i = 0; i < plain.count; i++) lengths.push(expectMoved(plain, digested, i));
    }
  } finally {
    trace.close();
  }
  return lengths;
}

it.each(traces)("digests of %s", async (name) => {
  const lengths = await expectDigests(`traces/${name}`);
  expect(lengths.reduce((sum, length) => sum + length, 0)).toBeGreaterThan(0);
});

const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(value);
  return bytes;
};

it("of lists, messages, and calls that moved less than they were given", async () => {
  const long = Buffer.from(Uint8Array.from({ length: 600_000 }, (_, k) => (k * k) >> 5));
  const list = Buffer.concat([0x5000, 100, 0x6000, 20].map(number));
  // Name, list and control data of a message, with their lengths.
  const header = Buffer.concat([0x7000, 16, 0x4000, 2, 0x8000, 24, 0].map(number));
  const buffers = [
    [1, "in", 0x4000, list],
    [1, "in", 0x5000, long.subarray(0, 100)],
    [1, "in", 0x6000, "twenty bytes of text"],
  ] as const;
  const write = (ret: number, bytes: string | Buffer) =>
    ({ args: [1, 0x1000, bytes.length], ret, captures: [[1, "in", 0x1000, bytes]] }) as const;
  const folder = temporaryFolder();
  try {
    const path = await one(0, (trace) =>
      trace
        .call("write", write(5, "hello"))
        .call("write", write(2, "hello"))
        .call("write", write(-32, "hello"))
        .call("write", write(600_000, long))
        .call("write", write(300_000, long))
        .call("write", write(100, long.subarray(0, 100)))
        .call("writev", { args: [1, 0x4000, 2], ret: 110, captures: buffers })
        .call("sendmsg", {
          args: [1, 0x9000, 0],
          ret: 120,
          captures: [
            [1, "in", 0x9000, header],
            [1, "in", 0x7000, "an address......"],
            ...buffers,
            [1, "in", 0x8000, long.subarray(0, 24)],
          ],
        }),
    ).write(folder.file("moves.trace"));
    const lengths = await expectDigests(path);
    expect(lengths.slice(2, -1)).toEqual([5, 2, 0, 600_000, 300_000, 100, 110, 120]);
  } finally {
    folder.remove();
  }
});

it("reads, writes and messages are digested, and nothing that is decoded", () => {
  const of = (sysno: number) => [...plans.moves.subarray(3 * sysno, 3 * sysno + 3)];
  expect([of(0), of(1), of(20), of(46), of(47)]).toEqual([
    ...[
      [1, 1, 0],
      [1, 0, 0],
      [1, 0, 1],
      [1, 0, 2],
      [1, 1, 2],
    ],
  ]);
  // ioctl, close, getdents64
  expect([of(16)[0], of(3)[0], of(217)[0]]).toEqual([255, 255, 255]);
});
