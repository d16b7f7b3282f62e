/** Signals that nothing is done about interrupt nothing, though a tracer has the kernel deliver them. */

import { dirname } from "node:path";
import { expect, it } from "vitest";
import { calls, cli, compile, read, record, run, stateOf } from "./support.js";

const waits = () => compile("spared", "-pthread");
const told = "timed 0, in time\ninterrupted 0\n";

it("is so without a recorder", async () => {
  expect(await run([waits()])).toMatchObject({ code: 0, stdout: told });
});

it.each([[[]], [["--backend=ptrace"]]])(
  "no wait ends or takes longer by them: %j",
  async (options) => {
    const { file, ...recorded } = await record([waits()], { options });
    expect(recorded).toEqual({ code: 0, signal: null, stdout: told, stderr: "" });
    const replayed = await run([cli, "replay", "-q", file], { env: stateOf(dirname(file)) });
    expect(replayed).toEqual(recorded);
  },
);

it("nor does one that is only observed, as far as can be told", async () => {
  const options = ["--observe", "--backend=ptrace"];
  const { stdout } = await record([waits()], { options });
  expect(stdout).toMatch(/^timed 0, in time\ninterrupted \d?\d\n$/);
});

const timed = [
  ...["epoll_wait", "epoll_pwait", "epoll_pwait2"].map((name) => `${name} 0 -, in time\n`),
  ...[
    "semtimedop",
    "sigtimedwait",
    "recv",
    "read",
    "recvmsg",
    "recvmmsg",
    "accept",
    "send",
    "writev",
  ].map((name) => `${name} -1 EAGAIN, in time\n`),
  "nanosleep 0 -, in time\n",
].join("");

it.each([[[]], [["--backend=ptrace"]], [["--observe"]]])(
  "each wait for some time ends when that is over: %j",
  async (options) => {
    const program = compile("limits");
    expect(await run([program])).toMatchObject({ code: 0, stdout: timed });
    const { file, ...recorded } = await record([program], { options });
    expect(recorded).toEqual({ code: 0, signal: null, stdout: timed, stderr: "" });
    const { events } = await read(file);
    expect(calls(events, "restart_syscall")).toEqual([]);
    if (options.includes("--observe")) return;
    const replayed = await run([cli, "replay", "-q", file], { env: stateOf(dirname(file)) });
    expect(replayed).toEqual(recorded);
  },
);
