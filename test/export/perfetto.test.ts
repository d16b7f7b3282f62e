/** Perfetto traces, decoded with the published definitions by perfetto_trace.py. */

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ShownEvent, shownEvents } from "../support/shown.js";
import { TextTrace, temporaryFolder } from "../support/text_trace.js";
import { lackingPython, readBack, titled } from "./python.js";
import { beside, exportTo, recordShell } from "./support.js";

interface Slice {
  readonly number: number;
  readonly time: number;
  readonly dur: number | null;
  readonly track: number;
  readonly name: string;
  readonly depth: number;
  readonly categories: readonly string[];
  readonly args: Readonly<Record<string, unknown>>;
}

interface Decoded {
  readonly uuid: string;
  readonly clocks: Readonly<Record<string, number>>;
  readonly open: number;
  readonly tracks: readonly {
    readonly uuid: number;
    readonly parent: number | null;
    readonly name: string;
    readonly kind: string;
    readonly pid: number | null;
    readonly tid: number | null;
    readonly cmdline: readonly string[];
  }[];
  readonly slices: readonly Slice[];
  readonly flows: readonly {
    readonly id: number;
    readonly steps: readonly { readonly slice: number; readonly time: number }[];
  }[];
  readonly counters: readonly {
    readonly track: number;
    readonly time: number;
    readonly value: number;
  }[];
}

async function decoded(file: string, ...words: string[]): Promise<Decoded> {
  const output = beside(file, "out.pftrace");
  await exportTo("perfetto", output, file, "--force", ...words);
  return readBack<Decoded>("perfetto_trace.py", output);
}

/** The steps of each flow as `slice of track`. */
function flowNames({ flows, slices, tracks }: Decoded): string[] {
  const name = (uuid: number) => tracks.find((track) => track.uuid === uuid)?.name ?? "?";
  const byNumber = new Map(slices.map((slice) => [slice.number, slice]));
  return flows.map(({ steps }) =>
    steps
      .map(({ slice }) => byNumber.get(slice))
      .map((slice) => `${slice?.name} of ${name(slice?.track ?? 0)}`)
      .join(" > "),
  );
}

/** The last value of each counter, by name and process. */
function lastCounters({ tracks, counters }: Decoded): Map<string, number> {
  const last = new Map<string, number>();
  const nameOf = new Map(
    tracks
      .filter(({ kind }) => kind === "counter")
      .map(({ uuid, name, parent }) => {
        const process = tracks.find((track) => track.uuid === parent);
        return [uuid, `${name} of ${process?.name}`];
      }),
  );
  for (const { track, value } of counters) last.set(nameOf.get(track) ?? "?", value);
  return last;
}

describe.skipIf(lackingPython !== undefined)(titled("a Perfetto trace"), () => {
  let file = "";
  let trace: Decoded;
  let shown: ShownEvent[];

  beforeAll(async () => {
    const script =
      "tcp_loopback && socketpair && sigrestart && head -c 5000 /dev/zero | cat | wc -c";
    file = await recordShell(script);
    trace = await decoded(file);
    shown = await shownEvents(file);
  });

  it("has a slice for each call, with its time and duration, on the track of its thread", () => {
    const tids = new Map(trace.tracks.map((track) => [track.uuid, track.tid]));
    const slices = trace.slices
      .filter(({ dur }) => dur !== null)
      .map(({ time, dur, name, track }) => `${time} ${dur} ${name} ${tids.get(track)}`);
    const calls = shown
      .filter(({ kind }) => kind === "call")
      .map(({ time, dur, call, tid }) => `${time} ${dur} ${call} ${tid}`);
    expect(calls.length).toBeGreaterThan(300);
    expect(slices.toSorted()).toEqual(calls.toSorted());
    expect(trace.open).toBe(0);
  });

  it("has an instant for everything else", () => {
    const instants = trace.slices.filter(({ dur }) => dur === null);
    expect(instants.length).toBe(shown.filter(({ kind }) => kind !== "call").length);
    expect(instants.map(({ name }) => name)).toContain("SIGALRM");
  });

  it("nests what a signal handler did in the call that it interrupted", () => {
    const inner = trace.slices.filter(({ depth, dur }) => depth > 0 && dur !== null);
    expect(inner.map(({ name }) => name)).toContain("write");
    for (const slice of inner) {
      const around = trace.slices.find(
        ({ track, time, dur, number }) =>
          track === slice.track &&
          number !== slice.number &&
          time <= slice.time &&
          time + (dur ?? -1) >= slice.time + (slice.dur ?? 0),
      );
      expect(around?.name, `${slice.name} at ${slice.time}`).toBe("read");
    }
  });

  it("says arguments and results by name and type", () => {
    const reads = trace.slices.filter(({ name, args }) => name === "write" && args.ret === 5);
    expect(reads.map(({ args }) => args)).toContainEqual(
      expect.objectContaining({
        fd: expect.objectContaining({ fd: expect.any(Number) }),
        buf: "reply",
        count: 5,
        ret: 5,
      }),
    );
    const opened = trace.slices.find(
      ({ name, args }) => name === "openat" && args.err === "ENOENT",
    );
    expect(opened === undefined || typeof opened.args.filename === "string").toBe(true);
    const mapped = trace.slices.find(({ name }) => name === "mmap");
    expect(mapped?.args.prot).toMatch(/PROT_/);
    expect(mapped?.args.ret).toEqual({ pointer: expect.any(Number) });
    expect(mapped?.categories).toEqual(["desc"]);
  });

  it("leads from forks and execs to what they started, and from writes to reads", () => {
    const names = flowNames(trace);
    const starts = shown.filter(({ kind, thread }) => kind === "task" && thread !== "p1");
    const forks = names.filter((name) =>
      /^(?:clone|fork|vfork|clone3) of p\d+ > start of p\d+$/.test(name),
    );
    expect(forks.length).toBe(starts.length);
    const execs = shown.filter(({ kind }) => kind === "exec");
    expect(names.filter((name) => /^execve of (p\d+) > run \w+ of \1$/.test(name)).length).toBe(
      execs.length,
    );
    // The pipes of the shell: head to cat, cat to wc.
    const pipes = names.filter((name) => /^write of (p\d+) > read of (?!\1)p\d+/.test(name));
    expect(new Set(pipes).size).toBeGreaterThanOrEqual(2);
    // tcp_loopback: request and reply between the two sockets of one process.
    expect(names).toContainEqual(expect.stringMatching(/^sendto of (p\d+) > recvfrom of \1$/));
  });

  it("draws no arrow that goes back in time", () => {
    for (const { steps } of trace.flows) {
      const times = steps.map(({ time }) => time);
      expect(times).toEqual(times.toSorted((a, b) => a - b));
    }
  });

  it("counts bytes as the calls do", () => {
    const last = lastCounters(trace);
    const wc = trace.tracks.find(({ kind, name }) => kind === "process" && name.endsWith(" wc"));
    const reads = shown.filter(
      ({ call, thread, ret }) =>
        ["read", "pread64"].includes(call ?? "") &&
        thread === wc?.name.split(" ")[0] &&
        Number(ret) > 0,
    );
    const sum = reads.reduce((total, { ret }) => total + Number(ret), 0);
    expect(sum).toBeGreaterThanOrEqual(5000);
    expect(last.get(`bytes read of ${wc?.name}`)).toBe(sum);
  });

  it("counts descriptors that are open", () => {
    const process = trace.tracks.find(({ name }) => name.endsWith(" tcp_loopback"));
    const track = trace.tracks.find(
      ({ kind, name, parent }) =>
        kind === "counter" && name === "open descriptors" && parent === process?.uuid,
    );
    const values = trace.counters.filter((counter) => counter.track === track?.uuid);
    // The listening socket, the client and the accepted one on top of what the loader had left open.
    const before = values.find((_, k) => (values[k + 1]?.value ?? 0) > (values[k]?.value ?? 0));
    expect(Math.max(...values.map(({ value }) => value))).toBeGreaterThanOrEqual(
      (before?.value ?? 0) + 2,
    );
  });

  it("names processes and threads, and knows the wall clock", () => {
    const shell = trace.tracks.find(({ kind }) => kind === "process");
    expect(shell).toMatchObject({ name: "p1 sh", cmdline: ["sh", "-c", expect.any(String)] });
    expect(trace.clocks["6"]).toBe(0);
    expect(Math.abs((trace.clocks["1"] ?? 0) / 1e6 - Date.now())).toBeLessThan(600_000);
    expect(trace.uuid).toMatch(/^[0-9a-f]{32}$/);
  });

  it("holds what a filter chooses", async () => {
    const some = await decoded(file, "name = read");
    const reads = shown.filter(({ call }) => call === "read").length;
    expect(some.slices.map(({ name }) => name)).toEqual(Array(reads).fill("read"));
  });

  it("takes fewer than 20 bytes per event once it is compressed", async () => {
    const many = await recordShell(
      "for i in 1 2 3 4 5 6 7 8; do ls -l /usr/bin | sort -r | head; done",
    );
    const output = beside(many, "many.pftrace");
    await exportTo("perfetto", output, many);
    const events = await shownEvents(many);
    const bytes = gzipSync(readFileSync(output)).length;
    expect(bytes / events.length).toBeLessThan(20);
  });
});

describe.skipIf(lackingPython !== undefined)(titled("what a Perfetto trace counts"), () => {
  const folder = temporaryFolder();
  afterAll(() => folder.remove());

  /** A process that moves bytes between a file and two pipes without touching them. */
  async function movesTrace(name: string): Promise<string> {
    const trace = new TextTrace()
      .meta("argv", '["x"]')
      .thread(1, 1, 10, 10)
      .object("file", "/data")
      .object("pipe", "pipe:[1]")
      .object("pipe", "pipe:[2]")
      .event("task", { args: [0, 0] })
      .call("openat", { args: [-100, 0x1000, 0, 0], ret: 3, refs: [["ret", 3, 0]] })
      .call("pipe2", {
        args: [0x1000, 0],
        refs: [
          ["nested", 4, 1],
          ["nested", 5, 1],
        ],
      })
      .call("getrandom", { args: [0x1000, 8, 0], ret: 8 })
      .call("vmsplice", { args: [5, 0x2000, 1, 0], ret: 100, refs: [[0, 5, 1]] })
      .call("sendfile", {
        args: [5, 3, 0, 30],
        ret: 30,
        refs: [
          [0, 5, 1],
          [1, 3, 0],
        ],
      })
      .call("splice", {
        args: [4, 0, 7, 0, 130, 0],
        ret: 130,
        refs: [
          [0, 4, 1],
          [2, 7, 2],
        ],
      })
      .call("close", { args: [3], refs: [[0, 3, 0]] })
      .call("getpid", { ret: 10 });
    return trace.write(folder.file(name));
  }

  it("is what was read and what was written, as the tables have it", async () => {
    const trace = await decoded(await movesTrace("moves.trace"));
    expect(lastCounters(trace)).toEqual(
      new Map([
        ["open descriptors of p1 ?", 3],
        ["bytes read of p1 ?", 160],
        ["bytes written of p1 ?", 260],
      ]),
    );
    expect(flowNames(trace)).toEqual([
      "vmsplice of p1 > splice of p1",
      "sendfile of p1 > splice of p1",
      // Into a pipe that nobody has read.
      "splice of p1",
    ]);
  });

  it("is of all events where only some are chosen", async () => {
    const some = await decoded(await movesTrace("some.trace"), "name = getpid");
    expect(some.slices.map(({ name }) => name)).toEqual(["getpid"]);
    expect([...lastCounters(some).values()]).toEqual([3, 160, 260]);
  });

  it("is of the events up to the last one that is read", async () => {
    const early = await decoded(await movesTrace("early.trace"), "..@5");
    const counted = lastCounters(early);
    expect(early.slices.length).toBeGreaterThan(0);
    expect(counted.get("bytes read of p1 ?")).toBe(30);
    expect(counted.get("bytes written of p1 ?")).toBe(130);
  });

  it("is nothing where events before the chosen ones are not read", async () => {
    const late = await decoded(await movesTrace("late.trace"), "@6..");
    expect(late.slices.length).toBeGreaterThan(0);
    expect(late.counters).toEqual([]);
    expect(late.tracks.filter(({ kind }) => kind === "counter")).toEqual([]);
  });
});

describe.skipIf(lackingPython !== undefined)(titled("a Perfetto trace of odd events"), () => {
  it("keeps values that are large, negative, not text, or missing", async () => {
    const folder = temporaryFolder();
    const trace = new TextTrace()
      .meta("argv", '["x"]')
      .thread(1, 1, 10, 10)
      .call("read", {
        args: [3, 0x2000, 2n ** 64n - 1n],
        ret: 3,
        captures: [[1, "out", 0x2000, Uint8Array.of(0xff, 0x00, 0x41)]],
      })
      .call("lseek", { args: [3, -(2n ** 40n), 0], ret: -(2n ** 62n), flags: 0 })
      .call("write", { args: [1, 0, 5], ret: 0, flags: 1 })
      .event("call", { code: 9999, args: [1, 2, 3, 4, 5, 6], ret: -38, flags: 8 });
    const file = await trace.write(folder.file("odd.trace"));
    const { slices } = await decoded(file);
    expect(slices.map(({ name }) => name)).toEqual(["read", "lseek", "write", "syscall_0x270f"]);
    expect(slices[0]?.args).toMatchObject({ buf: "\\377\\0A", ret: 3 });
    expect(slices[1]?.args).toMatchObject({ offset: -(2 ** 40), ret: -(2 ** 62) });
    expect(slices[2]?.args).toMatchObject({ unfinished: true });
    expect(slices[3]?.args).toMatchObject({ err: "ENOSYS" });
    folder.remove();
  });
});
