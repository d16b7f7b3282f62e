/** Processes that are killed in the middle of a call. */

import { dirname } from "node:path";
import { expect, it } from "vitest";
import { EventFlag } from "../../src/trace/batch.js";
import { replayWords } from "../replay/support.js";
import { calls, cli, compile, readWhole, record, run, stateOf } from "./support.js";

// Of most of them the trace said that they had not come back from write(2), and replay left out what they had written.
it.each(["agent", "ptrace"])("what they have written is told, by %s", async (backend) => {
  const options = [`--backend=${backend}`];
  const recorded = await record([compile("killed_writers")], { options });
  expect(recorded).toMatchObject({ code: 0, stderr: "" });
  const { events } = await readWhole(recorded.file);
  const written = calls(events, "write").filter(({ ret }) => Number(ret) > 0);
  expect(recorded.stdout.split("\n").length - 1).toBe(written.length);
  const replayed = await run(replayWords(recorded.file, "-q"), {
    env: stateOf(dirname(recorded.file)),
  });
  expect(replayed).toMatchObject({ code: 0, stderr: "", stdout: recorded.stdout });
});

// As parts of calls that go on they were left out wherever calls are shown and counted.
it.each([["--backend=agent"], ["--backend=ptrace"], ["--observe"]])(
  "calls that a signal ended with the process are shown, with %s",
  async (option) => {
    const recorded = await record([compile("ends_in_call")], { options: [option] });
    expect(recorded).toMatchObject({ code: 0, stderr: "" });
    const { events } = await readWhole(recorded.file);
    const ended = calls(events, "clock_nanosleep", "nanosleep", "poll", "read").filter(
      ({ process, ret }) => process > 1 && Number(ret) < -500,
    );
    expect(ended.map(({ ret, flags }) => [ret, flags & EventFlag.Interrupted])).toEqual([
      [-516, 0],
      [-516, 0],
      [-512, 0],
    ]);
    const filter =
      "proc != p1 and dur > 0ms and name in (nanosleep, clock_nanosleep, poll, read) and not ok";
    const shown = await run([cli, "show", recorded.file, filter]);
    expect(shown.stdout.split("\n").filter((line) => line.includes(" = ? ERESTART")).length).toBe(
      3,
    );
  },
);

it.each([["--backend=agent"], ["--backend=ptrace"], ["--observe"]])(
  "calls of those that were stopped in them are shown, with %s",
  async (option) => {
    const recorded = await record([compile("killed_while_stopped")], { options: [option] });
    expect(recorded).toMatchObject({ code: 0, stderr: "" });
    const { file } = recorded;
    const { events } = await readWhole(file);
    const unended = events.filter(
      ({ process, kind, name, flags }) =>
        kind === "Call" &&
        name !== "exit_group" &&
        process > 1 &&
        (flags & EventFlag.NoReturn) !== 0,
    );
    expect(unended.map(({ name }) => name)).toEqual(["read", "clock_nanosleep", "poll", "pause"]);
    const shown = await run([cli, "show", file, "proc != p1 and name in (read, poll)"]);
    expect(shown.stdout).toMatch(/ read\(3<pipe:\[\d+\]>, \w+, 1\) = \? /);
    expect(shown.stdout).toMatch(/ poll\(NULL, 0, 20000\) = \? /);
    if (option === "--observe") return;
    const replayed = await run(replayWords(file, "-q"), { env: stateOf(dirname(file)) });
    expect(replayed).toMatchObject({ code: 0, stderr: "", stdout: recorded.stdout });
  },
);

// Of a program that was killed before its first instruction the recorder could learn nothing, and gave up the whole recording.
it.each(["agent", "ptrace"])("programs may be killed as they begin, by %s", async (backend) => {
  const recorded = await record([compile("killed_in_exec")], { options: [`--backend=${backend}`] });
  expect(recorded).toMatchObject({ code: 0, stderr: "", stdout: "killed\n" });
  const { file, stdout } = recorded;
  const replayed = await run(replayWords(file, "-q"), { env: stateOf(dirname(file)) });
  expect(replayed).toMatchObject({ code: 0, stderr: "", stdout });
});

// Of a child that was made as its parent was killed the birth is told last, and replay had no parent to make it.
it.each(["killed_in_fork", "orphaned_in_fork"])(
  "processes may be killed while they fork: %s",
  async (name) => {
    const recorded = await record([compile(name)], {});
    expect(recorded).toMatchObject({ code: 0, stderr: "", stdout: "killed\n" });
    const { file, stdout } = recorded;
    const replayed = await run(replayWords(file, "-q"), { env: stateOf(dirname(file)) });
    expect(replayed).toMatchObject({ code: 0, stderr: "", stdout });
  },
);
