/** Processes that are killed in the middle of a call. */

import { dirname } from "node:path";
import { expect, it } from "vitest";
import { replayWords } from "../replay/support.js";
import { calls, compile, readWhole, record, run, stateOf } from "./support.js";

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
