/** Calls that wait under a supervisor end as they do without one (`waits.c`). */

import { spawnSync } from "node:child_process";
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startEnforced } from "../../src/spec/enforce.js";
import type { Spec } from "../../src/spec/model.js";
import { lacking } from "../support/tools.js";
import { compileStatic, roleOf, specWith, type Words } from "./support.js";

const { EINTR, EACCES } = constants.errno;
const CALLS =
  "socket socket(unix,*,*) bind listen accept accept4 connect sendto recvfrom setsockopt rt_sigaction rt_sigprocmask rt_sigreturn setitimer clone clone3 futex madvise munmap exit mknod mknodat nanosleep clock_nanosleep fcntl restart_syscall gettid pipe pipe2";

let base = "";
let program = "";

beforeAll(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "trace-waits-")));
  program = compileStatic("waits", base, "-pthread");
  writeFileSync(join(base, "file"), "text");
});

afterAll(() => rmSync(base, { recursive: true, force: true }));

function specOf(grants: Words): Spec {
  const role = roleOf("app", program, CALLS, [["exec", program], ...grants]);
  return specWith({ ...role, serves: true });
}

/** The errno of the call, enforced and without. */
async function outcomes(words: readonly string[], spec: Spec): Promise<[number, number | null]> {
  const running = startEnforced(spec, {
    tokens: {},
    supervise: "always",
    command: [program, ...words],
    cwd: base,
    onRefusal: (refusal) => process.stderr.write(`${JSON.stringify(refusal)}\n`),
  });
  const status = await running.status;
  expect(status & 0x7f).toBe(0);
  rmSync(words[1] ?? "", { force: true });
  const plain = spawnSync(program, words, { cwd: base, timeout: 20_000 });
  rmSync(words[1] ?? "", { force: true });
  return [status >> 8, plain.status];
}

describe.skipIf(lacking("gcc"))("calls that wait", () => {
  const at = (name: string) => join(base, name);
  const socket = (verb: "bind" | "connect" | "listen" | "accept", name: string) =>
    [verb, `unix:${at(name)}`] as const;

  it("are interrupted by signals that are handled", async () => {
    const sends = specOf([socket("bind", "s1"), socket("connect", "s1")]);
    expect(await outcomes(["send", at("s1"), "end"], sends)).toEqual([EINTR, EINTR]);
    const pipes = specOf([
      ["create", at("p")],
      ["read", at("p")],
    ]);
    expect(await outcomes(["pipe", at("p")], pipes)).toEqual([EINTR, EINTR]);
  });

  it("begin once more after handlers that ask for it", async () => {
    const sends = specOf([socket("bind", "s2"), socket("connect", "s2")]);
    expect(await outcomes(["send", at("s2"), "restart"], sends)).toEqual([0, 0]);
  });

  it("for connections end in the same ways", async () => {
    const own = (name: string) =>
      specOf([
        socket("bind", name),
        socket("connect", name),
        socket("listen", name),
        socket("accept", name),
      ]);
    expect(await outcomes(["accept", at("s3"), "end"], own("s3"))).toEqual([EINTR, EINTR]);
    expect(await outcomes(["accept", at("s4"), "restart"], own("s4"))).toEqual([0, 0]);
  });

  it("are interrupted by all that are handled where a socket limits the time", async () => {
    const sends = specOf([socket("bind", "s6"), socket("connect", "s6")]);
    expect(await outcomes(["send", at("s6"), "limit"], sends)).toEqual([EINTR, EINTR]);
    const own = specOf([
      socket("bind", "s7"),
      socket("connect", "s7"),
      socket("listen", "s7"),
      socket("accept", "s7"),
    ]);
    expect(await outcomes(["accept", at("s7"), "limit"], own)).toEqual([EINTR, EINTR]);
  });

  it("for the supervisor are not interrupted by what comes while it decides another", async () => {
    const spec = specOf([["read", at("file")]]);
    expect(await outcomes(["behind", at("none"), at("file")], spec)).toEqual([0, 0]);
  });

  it("for the first connection end the phase before it, not their beginning", async () => {
    const grants = [
      socket("bind", "s5"),
      socket("connect", "s5"),
      socket("listen", "s5"),
      socket("accept", "s5"),
    ];
    const spec = specOf([...grants, ["read", at("file"), "init"]]);
    const [own] = await outcomes(["phases", at("s5"), at("file")], spec);
    expect(own).toBe(0);
    const never = specOf([...grants, ["read", at("file"), "serve"]]);
    expect((await outcomes(["phases", at("s5"), at("file")], never))[0]).toBe(EACCES);
  });
});
