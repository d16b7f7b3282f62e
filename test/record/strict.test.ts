/** The strict mode of seccomp works in every way of recording, although the recorder's filter takes the kernel's. */

import { expect, it } from "vitest";
import { calls, compile, readWhole, record } from "./support.js";

it.each([
  ["ptrace", ["--backend=ptrace"]],
  ["a capture filter", ["-e", "write"]],
  ["the agent", ["--backend=eager-agent"]],
  ["the agent, observing", ["--observe", "--backend=eager-agent"]],
  ["notifications", ["--backend=notify"]],
])(
  "%s",
  async (_, options) => {
    const { code, stdout, stderr, file } = await record([compile("strict")], { options });
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "strict\n", stderr: "" });
    const { events } = await readWhole(file);
    expect(calls(events, "write").length).toBe(401);
    const ends = events.filter(({ kind, args }) => kind === "Exit" && args[0] === 1n);
    expect(ends.map(({ code: how }) => how)).toEqual([5 << 8, 9, 5 << 8, 9, 0]);
  },
  120_000,
);
