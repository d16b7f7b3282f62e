/**
 * Attempts to do what a spec does not grant, made with the authority of each role. All of them have to fail; what a role was
 * granted is not attempted.
 */

import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { type NativeAttempt, native } from "../native.js";
import { unwrap } from "../trace/failure.js";
import { RoleEvaluator } from "./evaluate.js";
import type { Role, Spec, Verb } from "./model.js";
import type { Policy } from "./policy.js";
import type { Tokens } from "./tokens.js";

export interface ProbeAttempt {
  /** What it tries, for people. */
  readonly what: string;
  readonly attempt: NativeAttempt;
}

export interface ProbeResult extends ProbeAttempt {
  readonly role: string;
  /** Name of the error, or `done` when it worked. */
  readonly result: string;
  readonly denied: boolean;
}

/** Errors that mean that somebody said no. Others (refused by a peer, no such file) come from behind the fence. */
const DENIED: ReadonlySet<number> = new Set([
  constants.errno.EACCES,
  constants.errno.EPERM,
  constants.errno.ENOSYS,
]);

/** Nothing listens there. */
const UNUSED_PORT = 1;

/** What is attempted as a role: nothing that it was granted, and nothing that is not there. */
export function attemptsFor(role: Role, tokens: Tokens): ProbeAttempt[] {
  const evaluator = new RoleEvaluator(role, tokens);
  const may = (verb: Verb, object: string) => evaluator.grantFor(verb, object) !== undefined;
  const attempts: (ProbeAttempt | undefined)[] = [
    ...secretFiles(tokens)
      .filter((path) => !may("read", path))
      .map((path) => ({
        what: `read ${path}`,
        attempt: { kind: "read", path: Buffer.from(path) },
      })),
    writePlace(tokens, may),
    shellAttempt(may),
    may("connect", `tcp:127.0.0.1:${UNUSED_PORT}`)
      ? undefined
      : { what: "connect elsewhere", attempt: { kind: "connect", port: UNUSED_PORT } },
    { what: "connect by MPTCP", attempt: { kind: "mptcp", port: UNUSED_PORT } },
    may("connect", `udp:127.0.0.1:${UNUSED_PORT}`)
      ? undefined
      : { what: "send by UDP", attempt: { kind: "datagram", port: UNUSED_PORT } },
    { what: "set up an io_uring", attempt: { kind: "io_uring" } },
    may("signal", "outside")
      ? undefined
      : { what: "signal the parent", attempt: { kind: "signal-parent" } },
    { what: "trace the parent", attempt: { kind: "trace-parent" } },
    { what: "make a user namespace", attempt: { kind: "namespace" } },
    { what: "open a crypto socket", attempt: { kind: "crypto-socket" } },
  ];
  return attempts.filter((attempt) => attempt !== undefined);
}

function secretFiles({ HOME }: Tokens): string[] {
  const files = ["/etc/shadow"];
  if (HOME !== undefined) {
    try {
      const keys = readdirSync(join(HOME, ".ssh")).filter((name) => /^id_[a-z0-9]+$/.test(name));
      files.push(...keys.map((name) => join(HOME, ".ssh", name)));
    } catch {}
  }
  return files.filter((path) => existsSync(path));
}

/** A new file in the first of some directories in which the role may make none. */
function writePlace(
  tokens: Tokens,
  may: (verb: Verb, object: string) => boolean,
): ProbeAttempt | undefined {
  const name = `.trace-probe-${randomBytes(6).toString("hex")}`;
  const directories = ["/tmp", "/var/tmp", tokens.HOME, "/dev/shm"];
  for (const directory of directories) {
    if (directory === undefined || !existsSync(directory)) continue;
    const path = join(realpathSync(directory), name);
    if (!may("create", path)) {
      return {
        what: `write outside (${directory})`,
        attempt: { kind: "write", path: Buffer.from(path) },
      };
    }
  }
  return undefined;
}

function shellAttempt(may: (verb: Verb, object: string) => boolean): ProbeAttempt | undefined {
  for (const shell of ["/bin/sh", "/bin/bash", "/usr/bin/env"]) {
    if (!existsSync(shell)) continue;
    const path = realpathSync(shell);
    if (!may("exec", path) && !may("exec", shell)) {
      return { what: `run ${shell}`, attempt: { kind: "exec", path: Buffer.from(path) } };
    }
  }
  return undefined;
}

/** Makes the attempts of every role of a policy, one process each. */
export async function probeAll(spec: Spec, policy: Policy, tokens: Tokens): Promise<ProbeResult[]> {
  const results: ProbeResult[] = [];
  for (const [index, role] of spec.roles.entries()) {
    const own = JSON.stringify({ ...policy, root: index });
    for (const probe of attemptsFor(role, tokens)) {
      results.push({ ...probe, role: role.name, ...(await attempt(own, probe.attempt)) });
    }
  }
  return results;
}

/** How long one attempt may take: what is refused is refused at once. */
const ATTEMPT_MS = 10_000;

/** One attempt under a policy, as its first role. */
export async function attempt(
  policy: string,
  what: NativeAttempt,
): Promise<{ readonly result: string; readonly denied: boolean }> {
  const running = unwrap(
    native().startEnforced(
      {
        argv: [Buffer.from(process.execPath)],
        policy,
        notify: true,
        inherit: false,
        adopt: false,
        attempt: what,
      },
      () => {},
    ),
  );
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    process.kill(running.pid, "SIGKILL");
  }, ATTEMPT_MS);
  const status = unwrap(await running.wait().finally(() => clearTimeout(timer)));
  if (what.kind === "write" && what.path !== undefined)
    rmSync(Buffer.from(what.path), { force: true });
  const signal = status & 0x7f;
  if (isLate) return { result: "had to be ended", denied: false };
  if (signal !== 0) return { result: `signal ${signal}`, denied: true };
  const errno = (status >> 8) & 0xff;
  const name = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0];
  return { result: errno === 0 ? "done" : (name ?? String(errno)), denied: DENIED.has(errno) };
}
