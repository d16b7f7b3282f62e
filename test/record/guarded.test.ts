/** Processes that map the same file to write there: none waits for the other as long as they touch it seldom. */

import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { replayWords } from "../replay/support.js";
import {
  compile,
  type Event,
  folder,
  readWhole,
  record,
  recordAndReplay,
  run,
  stateOf,
} from "./support.js";

/** Code of a Trap event that tells of guarded memory, and what it tells: `guard` in native/format/src/event.rs. */
const GUARD = 6;
const [TOUCHED, LIFTED, SET] = [0n, 1n, 2n];
/** From so many on memory is touched often: `MOST_TOUCHES` in native/engine/src/record/guarded.rs. */
const MOST_TOUCHES = 160;

const PROGRAMS = 2;

async function counted(rounds: number, ...options: string[]): Promise<readonly Event[]> {
  const argv = [compile("counted"), join(folder(), "counted"), String(PROGRAMS), String(rounds)];
  const recorded = await record(argv, { options });
  expect(recorded).toMatchObject({ code: 0, stderr: "" });
  expect(recorded.stdout).toContain(`total ${PROGRAMS * rounds}\n`);
  const { events } = await readWhole(recorded.file);
  const replayed = await run(replayWords(recorded.file, "-q"), {
    env: stateOf(dirname(recorded.file)),
  });
  expect(replayed).toMatchObject({ code: 0, stderr: "", stdout: recorded.stdout });
  return events.filter(({ kind, code }) => kind === "Trap" && code === GUARD);
}

function told(events: readonly Event[], what: bigint): number {
  return events.filter(({ args }) => args[1] === what).length;
}

describe("a file that several programs map", () => {
  it.each(["agent", "ptrace"])(
    "is touched by events, in which replay finds what was seen there (%s)",
    async (backend) => {
      const rounds = 20;
      const events = await counted(rounds, `--backend=${backend}`);
      expect(told(events, SET)).toBe(PROGRAMS);
      expect(told(events, TOUCHED)).toBe(PROGRAMS * rounds);
      expect(told(events, LIFTED)).toBe(0);
    },
  );

  it("is taken turns for when it is touched often", async () => {
    const events = await counted(2 * MOST_TOUCHES);
    expect(told(events, LIFTED)).toBe(PROGRAMS);
    expect(told(events, TOUCHED)).toBeLessThanOrEqual(PROGRAMS * MOST_TOUCHES);
  });
});

it("what was written behind the end of a file is there in replay for those who map it next", async () => {
  const [program, name] = [compile("behind_end"), `/behind_end-${process.pid}`];
  expect(await run([program, name, "leave"])).toMatchObject({ code: 0 });
  const { stdout } = await recordAndReplay([program, name], []);
  const seen = ["before outside", "alone first", "child first", "parent second", "again second"];
  expect(stdout).toBe(`${seen.join("\n")}\n`);
});
