/** Opening traces and reading them block by block. */

import {
  copyFileSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TraceError } from "../../src/errors.js";
import { EventKind } from "../../src/trace/batch.js";
import { History } from "../../src/trace/history.js";
import { openTrace } from "../../src/trace/open.js";
import { sampleTrace, TextTrace, temporaryFolder } from "../support/text_trace.js";

const folder = temporaryFolder();
const path = folder.file("sample.trace");
const long = folder.file("long.trace");
const longCount = 70_000;

beforeAll(async () => {
  await sampleTrace().write(path);
  const trace = new TextTrace().thread(1, 1, 100, 100).object("file", "/x");
  for (let k = 0; k < longCount; k++) {
    trace.call("read", {
      args: [3, 0x1000, k],
      ret: k,
      refs: [[0, 3, 0]],
      span: k % 1000 === 999 ? 7 : 0,
    });
  }
  await trace.write(long);
});

afterAll(() => folder.remove());

describe("openTrace", () => {
  it("tells what the file says of the recording", async () => {
    const trace = await openTrace(path);
    expect(trace.state).toBe("complete");
    expect(trace.eventCount).toBe(15);
    expect(trace.startSeconds).toBe(1_700_000_000);
    expect(trace.startNanos).toBe(123_456_789);
    expect(trace.duration).toBeGreaterThan(12_000_000);
    expect(trace.info).toMatchObject({
      version: "1.0",
      command: ["sh", "-c", "cat | x"],
      cwd: "/srv",
      status: 0,
      lost: { memory: 0, tasks: 0, descriptors: 1, unknownCalls: 0 },
      notes: ["one remark"],
    });
    expect(trace.damage).toBeUndefined();
  });

  it("knows threads, processes and objects", async () => {
    const trace = await openTrace(path);
    expect(trace.threads[1]).toEqual({
      index: 1,
      process: 1,
      ordinal: 2,
      tid: 101,
      pid: 100,
      parent: 0,
      createdBy: 7,
    });
    expect(trace.processes).toMatchObject([
      { number: 1, pid: 100, parent: 0, threads: [0, 1] },
      { number: 2, pid: 102, parent: 1, threads: [2] },
    ]);
    expect(trace.objects.length).toBe(4);
    expect(trace.objects[3]).toMatchObject({ id: 3, kind: "socket", path: "socket:[18]" });
    expect(trace.objects[4]).toBeUndefined();
    expect(trace.objects[-1]).toBeUndefined();
    expect(Array.from(trace.objects, ({ id }) => id)).toEqual([0, 1, 2, 3]);
  });

  it("tells what became of the processes", async () => {
    const { lives } = await History.read(await openTrace(path));
    expect(lives[0]?.programs[0]).toMatchObject({ path: "/bin/sh", argv: ["sh", "-c", "cat | x"] });
    expect(lives[0]?.end).toMatchObject({ code: 0, signal: undefined });
    expect(lives[1]?.end).toMatchObject({
      code: 2,
      userTime: 1_500_000,
      systemTime: 2_500_000,
      peakMemory: 2 << 20,
    });
  });

  it.each([
    { file: "missing.trace", make: () => {}, code: "NO_FILE" },
    { file: "empty.trace", make: (file: string) => writeFileSync(file, ""), code: "NOT_A_TRACE" },
    {
      file: "text.trace",
      make: (file: string) => writeFileSync(file, "hello\n"),
      code: "NOT_A_TRACE",
    },
    {
      file: "newer.trace",
      make: (file: string) => {
        const bytes = readFileSync(path);
        bytes[8] = 99;
        writeFileSync(file, bytes);
      },
      code: "VERSION",
    },
  ])("refuses $file with $code and a way out", async ({ file, make, code }) => {
    make(folder.file(file));
    const error = await openTrace(folder.file(file)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TraceError);
    expect(error).toMatchObject({ code });
    expect((error as TraceError).hint).toBeTruthy();
    expect((error as TraceError).message).toContain(file);
  });
});

describe("batches", () => {
  it("gives every event once and in order", async () => {
    const trace = await openTrace(long);
    let next = 0;
    for await (const batch of trace.batches()) {
      expect(batch.firstSeq).toBe(next);
      for (let i = 0; i < batch.count; i++) {
        if (batch.ret[2 * i] !== next + i || batch.args[12 * i + 4] !== next + i) {
          throw new Error(`event ${next + i} is not itself`);
        }
      }
      next += batch.count;
    }
    expect(next).toBe(longCount);
    expect(trace.blocks.count.length).toBeGreaterThan(1);
  });

  it("leaves out the columns that were not asked for", async () => {
    const trace = await openTrace(path);
    for await (const batch of trace.batches({ columns: ["base", "refs"] })) {
      expect(batch.kind.length).toBe(15);
      expect(batch.refStart.length).toBe(16);
      expect([batch.args.length, batch.ip.length, batch.capSlot.length]).toEqual([0, 0, 0]);
    }
  });

  it.each([
    [0, 0],
    [100, 100],
    [32_000, 40_000],
    [69_999, 80_000],
    [5, 4],
  ])("gives a part: events %i to %i", async (from, to) => {
    const trace = await openTrace(long);
    const found: number[] = [];
    for await (const batch of trace.batches({ from, to })) {
      for (let i = 0; i < batch.count; i++) {
        found.push(batch.firstSeq + i);
        expect(batch.args[12 * i + 4]).toBe(batch.firstSeq + i);
        expect(batch.refObject[batch.refStart[i] ?? -1]).toBe(0);
      }
    }
    const last = Math.min(to, longCount - 1);
    expect(found).toEqual(Array.from({ length: Math.max(0, last - from + 1) }, (_, k) => from + k));
  });

  it("skips blocks without the kinds that are wanted", async () => {
    const trace = await openTrace(long);
    for await (const _ of trace.batches({ kinds: [EventKind.Exec] })) expect.unreachable();
  });

  it("shows captured memory and its references", async () => {
    const trace = await openTrace(path);
    const place = await trace.eventAt(2);
    if (place === undefined) throw new Error("event 2 is missing");
    const { batch, i } = place;
    const capture = batch.capStart[i] ?? -1;
    const content = batch.capContent[capture] ?? -1;
    const bytes = batch.bytes.subarray(
      batch.contentStart[content],
      batch.contentStart[content + 1],
    );
    expect(Buffer.from(bytes).toString()).toBe("root:");
    expect(batch.refFd[batch.refStart[i] ?? -1]).toBe(3);
    expect(await trace.eventAt(15)).toBeUndefined();
    expect(await trace.eventAt(-1)).toBeUndefined();
  });

  it("lists the calls that span others by the place of their entry", async () => {
    const { entry, seq } = await (await openTrace(long)).spanningCalls();
    expect(seq.length).toBe(70);
    expect([entry[0], seq[0], entry[69], seq[69]]).toEqual([992, 999, 69_992, 69_999]);
  });
});

describe("a trace that is not whole", () => {
  it("is read up to where it was cut", async () => {
    const file = folder.file("cut.trace");
    copyFileSync(long, file);
    truncateSync(file, readFileSync(long).length - 100);
    const trace = await openTrace(file);
    expect(trace.state).toBe("cut");
    let count = 0;
    for await (const batch of trace.batches()) count += batch.count;
    expect(count).toBe(trace.eventCount);
    expect(count).toBeGreaterThan(30_000);
  });

  it("gives what is before the damage, then the error", async () => {
    const file = folder.file("damaged.trace");
    const bytes = readFileSync(long);
    const second = bytes.lastIndexOf(Buffer.from("\xf7TRf", "latin1"), bytes.length / 2);
    bytes.fill(0xff, second + 200, second + 300);
    writeFileSync(file, bytes);
    const trace = await openTrace(file);
    let count = 0;
    const reading = (async () => {
      for await (const batch of trace.batches()) count += batch.count;
    })();
    await expect(reading).rejects.toMatchObject({ code: "CORRUPT" });
    expect(count).toBeLessThan(longCount);
  });

  it("holds the file open until close, and not until something collects garbage", async () => {
    const own = folder.file("held.trace");
    copyFileSync(path, own);
    const isHeld = () =>
      readdirSync("/proc/self/fd").some((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === own;
        } catch {
          return false; // The folder's own descriptor.
        }
      });
    const trace = await openTrace(own);
    expect(isHeld()).toBe(true);
    trace.close();
    trace.close();
    expect(isHeld()).toBe(false);
  });

  it("is refused after close", async () => {
    const trace = await openTrace(path);
    trace.close();
    await expect(trace.batches().next()).rejects.toMatchObject({ code: "CLOSED" });
  });
});
