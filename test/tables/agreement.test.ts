/** Tables against counts over `trace show --format=jsonl`, which knows nothing of tables, on recordings of random programs. */

import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { inUtf8 } from "../../src/trace/byte_text.js";
import { folder, record } from "../record/support.js";
import { type ShownEvent, shownEvents } from "../support/shown.js";
import { compareMemory } from "./agreement_memory.js";
import { compareNetwork } from "./agreement_network.js";
import { type Descriptor, isOk, type Moved, movedBytes, procOf, type Text } from "./lines.js";
import { type Row, readTable, withTrace } from "./support.js";

let program = "";

beforeAll(() => {
  program = join(folder(), "random_calls");
  const source = fileURLToPath(new URL("./programs/random_calls.c", import.meta.url));
  execFileSync("gcc", ["-O1", "-Wall", "-o", program, source]);
});

function countBy<T>(items: readonly T[], key: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + 1);
  return new Map([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What a call's path names: as it was resolved, else as it was given, behind its directory. */
function namedPath(line: ShownEvent): string | undefined {
  const name = ["filename", "pathname", "path"].find((one) => line.args?.[one] !== undefined);
  const given = name === undefined ? undefined : (line.args?.[name] as Text);
  if (name === undefined || given === undefined || given === null) return undefined;
  const own = line.resolved?.[name];
  if (own !== undefined) return own;
  const text =
    typeof given === "string"
      ? given
      : (given.text ?? Buffer.from(given.base64 ?? "", "base64").toString());
  if (text.startsWith("/")) return text;
  const directory = (line.args?.dfd as Descriptor | undefined)?.path;
  if (directory?.startsWith("/") !== true) return undefined;
  return text === "" ? directory : `${directory}/${text}`;
}

function moved(row: Row): Moved {
  return {
    reads: Number(row.reads),
    writes: Number(row.writes),
    bytesRead: Number(row.bytes_read),
    bytesWritten: Number(row.bytes_written),
  };
}

function sum(moves: readonly Moved[]): Moved {
  const total = { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0 };
  for (const one of moves) {
    total.reads += one.reads;
    total.writes += one.writes;
    total.bytesRead += one.bytesRead;
    total.bytesWritten += one.bytesWritten;
  }
  return total;
}

async function compareCalls(file: string, lines: readonly ShownEvent[]): Promise<void> {
  const [events, syscalls] = await withTrace(file, async (trace) => [
    await readTable(trace, "event"),
    await readTable(trace, "syscall"),
  ]);
  expect(events.map(({ seq }) => seq)).toEqual(lines.map(({ seq }) => seq));
  expect(countBy(events, (row) => String(row.kind))).toEqual(countBy(lines, (line) => line.kind));
  const calls = lines.filter(({ kind }) => kind === "call");
  expect(syscalls.length).toBe(calls.length);
  calls.forEach((line, k) => {
    const row = syscalls[k] ?? {};
    expect(row).toMatchObject({ seq: line.seq, time: line.time, dur: line.dur, name: line.call });
    expect(row).toMatchObject({ proc: procOf(line), tid: line.tid, err: line.err });
    if (typeof line.ret === "number") expect(row.ret).toBe(line.ret);
    if (typeof line.ret === "string") expect(BigInt(row.ret as number)).toBe(BigInt(line.ret));
    if (line.state !== undefined) expect(row.ret).toBeUndefined();
    const count = line.args?.count;
    if (line.call !== "sendfile" && typeof count === "number") expect(row.arg2).toBe(count);
  });
}

async function compareProcesses(file: string, lines: readonly ShownEvent[]): Promise<void> {
  await withTrace(file, async (trace) => {
    const processes = await readTable(trace, "process");
    const ends = lines.filter((line) => line.kind === "exit" && line.process === true);
    expect(new Map(processes.map((row) => [row.proc, row.exit_code]))).toEqual(
      new Map(ends.map((line) => [procOf(line), line.code])),
    );
    expect(processes.map(({ end }) => end).sort()).toEqual(ends.map(({ time }) => time).sort());
    const threads = await readTable(trace, "thread");
    expect(threads.length).toBe(new Set(lines.map(({ thread }) => thread)).size);
    const execs = await readTable(trace, "exec");
    const starts = lines.filter(({ kind }) => kind === "exec");
    expect(execs.map((row) => [row.seq, row.exe, row.argv, row.argc])).toEqual(
      starts.map(({ seq, path, argv = [] }) => [seq, path, argv.join(" "), argv.length]),
    );
    const env = await readTable(trace, "env");
    expect(env.map((row) => `${row.seq} ${row.name}=${row.value}`)).toEqual(
      starts.flatMap(({ seq, env: own = [] }) => own.map((text) => `${seq} ${text}`)),
    );
    const signals = await readTable(trace, "signal");
    expect(signals.map((row) => [row.seq, row.signal])).toEqual(
      lines.filter(({ kind }) => kind === "signal").map((line) => [line.seq, line.signal]),
    );
    await compareArguments(await readTable(trace, "arg"), lines);
    const lost = await readTable(trace, "lost");
    const counted = lost.filter(({ seq }) => seq === undefined);
    expect(lost.slice(counted.length).map(({ seq }) => seq)).toEqual(
      lines.filter(({ kind }) => kind === "note").map(({ seq }) => seq),
    );
    const { memory = 0, tasks = 0, descriptors = 0, unknownCalls = 0 } = trace.info.lost ?? {};
    const counts = { memory, task: tasks, descriptor: descriptors, "unknown call": unknownCalls };
    expect(counted.map(({ what, count }) => [what, count])).toEqual(
      Object.entries(counts).filter(([, count]) => count > 0),
    );
  });
}

/** Numbers, descriptors and texts are the same in both; what is made of several values has rows of its own. */
async function compareArguments(rows: readonly Row[], lines: readonly ShownEvent[]): Promise<void> {
  const found = new Map(rows.map((row) => [`${row.seq} ${row.key}`, row]));
  expect(found.size).toBe(rows.length);
  const counts = rows.filter(({ key }) => key === "count");
  expect(counts.map((row) => [row.seq, row.int_value])).toEqual(
    lines.flatMap(({ seq, args }) => (args?.count === undefined ? [] : [[seq, args.count]])),
  );
  let compared = 0;
  for (const { seq, kind, args = {}, argv = [] } of lines) {
    if (kind === "exec") {
      const own = argv.map((_, k) => found.get(`${seq} argv[${k}]`)?.text_value);
      expect(own).toEqual([...argv]);
    }
    if (kind !== "call") continue;
    for (const [key, value] of Object.entries(args)) {
      const row = found.get(`${seq} ${key}`);
      if (typeof value === "number") expect([seq, key, row?.int_value]).toEqual([seq, key, value]);
      else if (typeof (value as Descriptor | null)?.fd === "number")
        expect([seq, key, row?.int_value]).toEqual([seq, key, (value as Descriptor).fd]);
      else continue;
      compared += 1;
    }
  }
  expect(compared).toBeGreaterThan(0);
}

/** Texts of tables are UTF-8, also those of names that are none; the bytes of such a name have a column of their own. */
function withUtf8(lines: readonly ShownEvent[]): ShownEvent[] {
  const text = (_: string, value: unknown) => (typeof value === "string" ? inUtf8(value) : value);
  return lines.map((line) => JSON.parse(JSON.stringify(line), text) as ShownEvent);
}

async function compareFiles(file: string, lines: readonly ShownEvent[]): Promise<void> {
  await withTrace(file, async (trace) => {
    const files = await readTable(trace, "file");
    const opens = lines.filter((line) => /^open(at)?$/.test(line.call ?? ""));
    const count = (ok: boolean) =>
      countBy(
        opens.filter((line) => isOk(line) === ok),
        (line) => namedPath(line) ?? "",
      );
    const has = (name: string) => files.filter((row) => Number(row[name]) > 0);
    const numbers = (name: string) =>
      new Map(
        has(name)
          .map((row) => [String(row.path), Number(row[name])] as const)
          .sort(byKey),
      );
    expect(numbers("opens")).toEqual(count(true));
    expect(numbers("open_errors")).toEqual(count(false));
    const expected = movedBytes(lines);
    for (const row of files) {
      const none = { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0 };
      expect({ path: row.path, ...moved(row) }).toEqual({
        path: row.path,
        ...(expected.get(String(row.path)) ?? none),
      });
    }
    const fds = await readTable(trace, "fd");
    for (const [path, sums] of expected) {
      expect(sum(fds.filter((row) => row.path === path).map(moved))).toEqual(sums);
    }
    const made = opens.filter(isOk).map(({ seq }) => seq);
    const opened = fds.filter(({ kind }) => kind === "file" || kind === "dir");
    expect(opened.flatMap((row) => (row.opened_by === undefined ? [] : [row.opened_by]))).toEqual(
      made,
    );
    // The programs have ended: nothing is open any more.
    expect(fds.filter((row) => row.closed === undefined)).toEqual([]);
  });
}

function byKey([a]: readonly [string, number], [b]: readonly [string, number]): number {
  return a < b ? -1 : 1;
}

describe("tables of recordings of random programs", () => {
  it("agree with the lines of show", { timeout: 240_000 }, async () => {
    const seeds = fc.record({
      seed: fc.integer({ min: 1 }),
      steps: fc.integer({ min: 0, max: 150 }),
    });
    const observe = fc.boolean();
    await fc.assert(
      fc.asyncProperty(seeds, observe, async ({ seed, steps }, isObserved) => {
        const dir = join(folder(), "files");
        mkdirSync(dir);
        const options = isObserved ? ["--observe"] : [];
        const { file, stderr } = await record([program, dir, String(seed), String(steps)], {
          options,
        });
        expect(stderr).toBe("");
        const lines = withUtf8(await shownEvents(file, "-s", "4096"));
        await compareCalls(file, lines);
        await compareProcesses(file, lines);
        await compareFiles(file, lines);
        await compareNetwork(file, lines);
        await compareMemory(file, lines);
      }),
      { numRuns: 6, endOnFailure: true },
    );
  });
});
