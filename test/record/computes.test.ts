/** Threads that compute without a call: they are stopped in their own code, and found again there. */

import { dirname } from "node:path";
import { describe, expect, it } from "vitest";
import { replayWords } from "../replay/support.js";
import { compile, readWhole, record, run, stateOf } from "./support.js";

async function recordedAndReplayed(mode: string) {
  const recorded = await record([compile("computes", "-pthread"), mode]);
  expect(recorded).toMatchObject({ code: 0, stderr: "" });
  const { events } = await readWhole(recorded.file);
  const replayed = await run(replayWords(recorded.file, "-q"), {
    env: stateOf(dirname(recorded.file)),
  });
  expect(replayed).toMatchObject({ code: 0, stderr: "", stdout: recorded.stdout });
  return events.filter(({ kind }) => kind === "Preempt").length;
}

describe("threads that compute", () => {
  // Stopping one costs as much as it costs to look at 40 MiB; at each slice it would be more than a hundred times.
  it("are stopped seldom in a short loop that reads memory, which may be one that waits", async () => {
    const stops = await recordedAndReplayed("sums");
    expect(stops).toBeGreaterThanOrEqual(2);
    expect(stops).toBeLessThan(60);
  });

  it("are found again in a loop of short instructions where memory is crowded", async () => {
    expect(await recordedAndReplayed("crowded")).toBeGreaterThanOrEqual(2);
  });
});
