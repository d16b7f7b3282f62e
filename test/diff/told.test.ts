/** What differs is told, also where the decoder does not see it: nothing is put down to a rule that did not take it out. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { diff } from "../../src/diff/diff.js";
import type { DiffResult } from "../../src/diff/result.js";
import { TraceError } from "../../src/errors.js";
import { openTrace } from "../../src/trace/open.js";
import { listing, one, read, type StartOptions, type Write } from "./written.js";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "trace-diff-told-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let count = 0;

async function compare(
  write: Write,
  start: (run: number) => StartOptions = () => ({}),
): Promise<DiffResult> {
  const name = join(dir, `t${count++}`);
  const [a, b] = [0, 1].map((run) => one(run, write, start(run)).write(`${name}${run}.trace`));
  return diff((await a) ?? "", (await b) ?? "");
}

const aspectsOf = ({ differences }: DiffResult) => differences.flatMap(({ aspects }) => aspects);
const unrecorded = () => ({ data: "none" as const });

describe("streams", () => {
  const MIB = "a".repeat(1 << 20);
  const long =
    (last: (run: number) => string): Write =>
    (trace, run) => {
      trace.object("file", "/data");
      for (let k = 0; k < 9; k++) trace.call("read", read(MIB));
      trace.call("read", read(last(run)));
    };

  it("that differ only behind what is looked at", { timeout: 60_000 }, async () => {
    const result = await compare(long((run) => `last ${run}`));
    expect(result.verdict).toBe("different");
    const size = 9 * MIB.length + 6;
    const text = `${size} bytes, differs after the first 8 MiB`;
    expect(aspectsOf(result)).toEqual([{ what: "data", a: text, b: text }]);
    expect((await compare(long(() => "last"))).verdict).toBe("same");
  });

  it("of another length whose bytes were not recorded", async () => {
    const part = (name: string, ret: number) => (trace: Parameters<Write>[0]) =>
      trace.call(name, { args: [3, 0x3000, 64], ret, refs: [[0, 3, 1]] });
    const moves =
      (name: string): Write =>
      (trace, run) => {
        trace.object("file", "/data");
        part(name, 5)(trace);
        part(name, 7 + run)(trace);
      };
    const input = await compare(moves("read"), unrecorded);
    expect(aspectsOf(input)).toEqual([{ what: "result", a: "12", b: "13" }]);
    expect(input.differences[0]?.side).toBe("input");
    const output = await compare(moves("write"), unrecorded);
    expect(output.differences[0]?.side).toBe("action");
    const cut: Write = (trace, run) => {
      trace.object("file", "/data");
      for (const length of run === 0 ? [5, 7] : [12]) part("read", length)(trace);
    };
    expect((await compare(cut, unrecorded)).verdict).toBe("same");
  });

  it("directories with other names, whatever else was not recorded", async () => {
    const names: Write = (trace, run) =>
      trace.object("dir", "/data").call("getdents64", listing(["a", ["b", "c"][run] ?? ""]));
    const result = await compare(names, unrecorded);
    expect(result.firstCause?.lines).toEqual([" a", "-b", "+c"]);
  });
});

describe("events that cannot be read again", () => {
  const writes: Write = (trace, run) => trace.object("file", "/data").call("read", read(`${run}`));

  /** Both traces, where reading single events of the second fails. */
  const compareFailing = async (error: Error) => {
    const name = join(dir, `t${count++}`);
    const a = await openTrace(await one(0, writes).write(`${name}0.trace`));
    const b = await openTrace(await one(1, writes).write(`${name}1.trace`));
    b.eventAt = () => Promise.reject(error);
    try {
      return await diff(a, b);
    } finally {
      a.close();
      b.close();
    }
  };

  it("are counted where the trace is damaged", async () => {
    const result = await compareFailing(new TraceError("CORRUPT", "a block is damaged"));
    expect(result).toMatchObject({ verdict: "different", differences: [], more: 1 });
  });

  it("end the comparison where it is no damage", async () => {
    await expect(compareFailing(new RangeError("out of range"))).rejects.toThrow(RangeError);
    const trace = await openTrace(await one(0, writes).write(join(dir, "closed.trace")));
    trace.close();
    await expect(diff(trace, trace)).rejects.toThrow(/was closed/);
  });

  it("and what is damaged is said", async () => {
    const name = join(dir, `t${count++}`);
    const a = await openTrace(await one(0, writes).write(`${name}0.trace`));
    // biome-ignore lint/correctness/useYield: it fails before the first batch.
    a.batches = async function* () {
      throw new TraceError("CORRUPT", "block 0 is damaged");
    };
    const { notes } = await diff(a, `${name}0.trace`);
    a.close();
    expect(notes.join("\n")).toMatch(/A is cut: .* is not compared: block 0 is damaged/);
  });
});

describe("calls", () => {
  it("that ask how long a value is, without reading it", async () => {
    const asks =
      (length: (run: number) => number, size: (run: number) => number): Write =>
      (trace, run) =>
        trace.call("getxattr", {
          args: [0x1000, 0x1100, 0, size(run)],
          ret: length(run),
          captures: [
            [0, "in", 0x1000, "/data\0"],
            [1, "in", 0x1100, "user.x\0"],
          ],
          refs: [["cwd", -100, 0]],
        });
    const result = await compare(
      asks(
        (run) => 5 + run,
        () => 0,
      ),
    );
    expect(aspectsOf(result)).toEqual([{ what: "result", a: "5", b: "6" }]);
    const roomier = asks(
      () => 0,
      (run) => 64 + run,
    );
    expect(await compare(roomier)).toMatchObject({ verdict: "same", explained: {} });
  });

  it("starts whose variables come in another order", async () => {
    const env = ["HOME=/root", "LANG=C"];
    const result = await compare(
      () => {},
      (run) => ({ env: run === 0 ? env : [...env].reverse() }),
    );
    expect(aspectsOf(result)).toEqual([
      { what: "order of variables", a: "HOME LANG", b: "LANG HOME" },
    ]);
  });

  it("but not what a rule rewrote in their texts", async () => {
    const result = await compare(
      () => {},
      (run) => ({ argv: ["prog", `--pid=${4711 + run}`], pid: 4711 + run }),
    );
    expect(result.verdict).toBe("same");
    expect(result.explained).toEqual({ "numbers-in-text": 1 });
  });
});
