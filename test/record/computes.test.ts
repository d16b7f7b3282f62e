/** Threads that compute without a call: they are stopped in their own code, and found again there. */

import { dirname } from "node:path";
import { describe, expect, it } from "vitest";
import { replayWords } from "../replay/support.js";
import { bytesOf, calls, compile, type Event, readWhole, record, run, stateOf } from "./support.js";

/** The events of threads that were stopped in their own code. */
async function recordedAndReplayed(mode: string, ...flags: string[]): Promise<Event[]> {
  return (await stopsAndEvents(mode, ...flags)).stops;
}

/** These, and all events. */
async function stopsAndEvents(mode: string, ...flags: string[]) {
  const recorded = await record([compile("computes", "-pthread", ...flags), mode]);
  expect(recorded).toMatchObject({ code: 0, stderr: "" });
  const { events } = await readWhole(recorded.file);
  const replayed = await run(replayWords(recorded.file, "-q"), {
    env: stateOf(dirname(recorded.file)),
  });
  expect(replayed).toMatchObject({ code: 0, stderr: "", stdout: recorded.stdout });
  const preempted = events.filter(({ kind }) => kind === "Preempt");
  const isTold = (event: Event) =>
    waits(event) || countsItsTurns(event) || leavesDeadStackOut(event);
  expect(preempted.filter((event) => !isTold(event))).toEqual([]);
  return { stops: preempted, events };
}

/** Whether it only waited in a loop, a turn of which changes nothing: then there is no hash of its memory. */
function waits(event: Event): boolean {
  return event.args[0] === 0n && bytesOf(event, 1).length === 0;
}

/** Whether it waited in a loop that counts its turns: all but what is near is left out. */
function countsItsTurns(event: Event): boolean {
  const everything = Buffer.alloc(16);
  everything.writeBigUInt64LE(2n ** 64n - 1n, 8);
  return event.args[0] === 0n && bytesOf(event, 3).equals(everything);
}

/** The stack pointer among the registers, and what is below it that the program may use. */
const [SP, RED_ZONE] = [19 * 8, 128n];

/** Whether the state to be found again is told without what is below the stack: the loader leaves there what differs in replay. */
function leavesDeadStackOut(event: Event): boolean {
  // Where it stood anyway is no state to be found.
  if (event.args[0] === 1n) return true;
  const end = bytesOf(event, 0).readBigUInt64LE(SP) - RED_ZONE;
  const holes = bytesOf(event, 3);
  const ends = Array.from({ length: holes.length / 16 }, (_, k) => {
    return holes.readBigUInt64LE(16 * k) + holes.readBigUInt64LE(16 * k + 8);
  });
  return ends.includes(end);
}

describe("threads that compute", () => {
  // Stopping one costs as much as it costs to look at 40 MiB; at each slice it would be more than a hundred times.
  it("are stopped seldom in a short loop that reads memory, which may be one that waits", async () => {
    const { length: stops } = await recordedAndReplayed("sums");
    expect(stops).toBeGreaterThanOrEqual(2);
    expect(stops).toBeLessThan(60);
  });

  it("are found again in a loop of short instructions where memory is crowded", async () => {
    expect((await recordedAndReplayed("crowded")).length).toBeGreaterThanOrEqual(2);
  });

  // V8's own functions are such code.
  it("are not stopped where the program reads its code", async () => {
    expect((await recordedAndReplayed("constants")).length).toBeGreaterThanOrEqual(2);
  });

  // A probe that is put there before would be overwritten: translators of code make no call when they have made some.
  it("are found again in code that they have written since their last call", async () => {
    const recorded = await record([compile("writes_code", "-pthread")]);
    expect(recorded).toMatchObject({ code: 0, stderr: "" });
    const { events } = await readWhole(recorded.file);
    const inCode = events.filter((event) => event.kind === "Preempt" && event.args[0] === 0n);
    expect(inCode.length).toBeGreaterThanOrEqual(2);
    const replayed = await run(replayWords(recorded.file, "-q"), {
      env: stateOf(dirname(recorded.file)),
    });
    expect(replayed).toMatchObject({ code: 0, stderr: "", stdout: recorded.stdout });
  });

  // Each is told that it has something to do by what it polls, and counts how often it does.
  it("let others run soon where they read the time stamp counter and poll", async () => {
    const rounds = 300;
    const program = [compile("polls_counter"), `${rounds}`];
    const recorded = await record(program, { options: ["--backend=eager-agent"] });
    expect(recorded).toMatchObject({ code: 0, stderr: "", stdout: "handed over\n" });
    const { events } = await readWhole(recorded.file);
    const reads = events.filter(({ kind }) => kind === "Trap");
    expect(reads.length).toBeGreaterThan(2 * rounds);
    // A turn of three milliseconds has six thousand.
    expect(reads.length).toBeLessThan(2 * rounds * 2500);
  });

  // Wherever its turn could end otherwise, the lock is held.
  it("let others have a lock that they hold where they read the time stamp counter", async () => {
    const rounds = 20;
    const program = [compile("locked_counter", "-pthread"), `${rounds}`];
    const recorded = await record(program, { options: ["--backend=ptrace"] });
    expect(recorded).toMatchObject({ code: 0, stderr: "", stdout: "done\n" });
    const replayed = await run(replayWords(recorded.file, "-q"), {
      env: stateOf(dirname(recorded.file)),
    });
    expect(replayed).toMatchObject({ code: 0, stderr: "", stdout: "done\n" });
    const { events } = await readWhole(recorded.file);
    const STEPPED = 2n;
    const led = events.filter(({ kind, args }) => kind === "Preempt" && args[0] === STEPPED);
    expect(led.length).toBeGreaterThan(rounds / 2);
  });

  // Each job is waited for by three threads. One that is given the turn while nothing has changed for it would only look again; to
  // look at 40 MiB, as where it is not seen that a thread waits, would be done at each job.
  it.each(["-O0", "-O2"])(
    "get their turns in a pool when what they wait for has changed, %s",
    async (level) => {
      const stops = await recordedAndReplayed("pool", level);
      expect(stops.filter(waits).length).toBeGreaterThan(100);
      expect(stops.length).toBeLessThan(200 * 6);
      // A few before it is known where they wait, and not one for each of the 600 times that somebody waits for a job.
      expect(stops.filter((event) => event.args[0] === 0n && !waits(event)).length).toBeLessThan(
        100,
      );
      // One knows by which words it is found again.
      expect(stops.filter(waits).filter((event) => bytesOf(event, 2).length === 0)).toEqual([]);
    },
  );

  // Else each meeting takes as long as they look.
  // All three were stopped before it had its turn again, and one of them once more for each signal: 60, 80 and, for answers, 460 times.
  // An answer comes soon, unless there is no processor for it.
  it.each([
    ["sleeps", 40],
    ["signals", 40],
    ["messages", 120],
  ])("let a thread that has little to do run before the others (%s)", async (mode, fewer) => {
    const recorded = await record([compile("compute_beside", "-pthread"), mode]);
    expect(recorded).toMatchObject({ code: 0, stderr: "" });
    const { events } = await readWhole(recorded.file);
    const stops = events.filter(({ kind }) => kind === "Preempt").length;
    expect(stops).toBeGreaterThanOrEqual(10);
    expect(stops).toBeLessThan(fewer);
    const replayed = await run(replayWords(recorded.file, "-q"), {
      env: stateOf(dirname(recorded.file)),
    });
    expect(replayed).toMatchObject({ code: 0, stderr: "", stdout: recorded.stdout });
  });

  it("let others run soon in loops of which the processor is told", async () => {
    const { stops, events } = await stopsAndEvents("team", "-O2");
    expect(stops.filter(countsItsTurns).length).toBeGreaterThan(100);
    expect(calls(events, "futex").filter(({ args }) => args[1] === 128n).length).toBeLessThan(100);
  });

  it.each([
    ["patient", "-O0", 20],
    ["patient", "-O2", 20],
    ["far", "-O2", 80],
  ] as const)(
    "let others run soon while they wait, which they may give up: %s, %s",
    async (mode, level, computing) => {
      const stops = (await recordedAndReplayed(mode, level)).filter(
        (event) => event.args[0] === 0n && !waits(event),
      );
      expect(stops.length).toBeGreaterThan(100);
      const between = stops.slice(1).map(({ start }, k) => start - (stops[k]?.start ?? 0));
      // Those that compute have as many milliseconds, and more.
      const median = between.sort((a, b) => a - b)[between.length >> 1];
      expect(median).toBeLessThan(0.75e6 * computing);
    },
  );
});
