/** All formats, and the tables of names that the tools have themselves. */

import { spawnSync } from "node:child_process";
import { NAMES } from "../../decode/names.generated.js";
import { apparmor } from "./apparmor.js";
import { bwrap } from "./bwrap.js";
import { firejail } from "./firejail.js";
import { kubernetes } from "./kubernetes.js";
import { landlock } from "./landlock.js";
import { deno, node } from "./runtimes.js";
import { ociSeccomp } from "./seccomp.js";
import { systemd } from "./systemd.js";
import type { Target } from "./target.js";

export const TARGETS: readonly Target[] = [
  ociSeccomp,
  bwrap,
  systemd,
  landlock,
  apparmor,
  firejail,
  node,
  deno,
  kubernetes,
];

const LIMIT_MS = 10_000;

/** Names of calls that the target's own tool knows; undefined when it is not installed. */
export function knownCalls(target: string): ReadonlySet<string> | undefined {
  if (target === "oci-seccomp") return resolved(NAMES);
  if (target === "systemd") {
    const form = /^\s+#?\s*([a-z_][a-z0-9_]*)\s*$/gm;
    return listed("systemd-analyze", ["--no-pager", "syscall-filter"], form);
  }
  if (target === "firejail") {
    return listed("firejail", ["--debug-syscalls"], /^\s*\d+\s+- ([a-z_][a-z0-9_]*)\s*$/gm);
  }
  return undefined;
}

/** Asks libseccomp, which answers for one name at a time, a number for each; -1 is a name that it does not know. */
function resolved(all: readonly string[]): ReadonlySet<string> | undefined {
  const names = [...new Set(all)];
  const script = 'for name; do scmp_sys_resolver -a x86_64 "$name" || exit 1; done';
  const { status, stdout, error } = spawnSync("sh", ["-c", script, "sh", ...names], {
    encoding: "utf8",
    timeout: LIMIT_MS,
  });
  if (error !== undefined || status !== 0) return undefined;
  const numbers = stdout.trim().split("\n").map(Number);
  return new Set(names.filter((_, k) => (numbers[k] ?? -1) >= 0));
}

function listed(
  program: string,
  args: readonly string[],
  form: RegExp,
): ReadonlySet<string> | undefined {
  const { status, stdout, error } = spawnSync(program, args, {
    encoding: "utf8",
    timeout: LIMIT_MS,
    maxBuffer: 1 << 24,
  });
  if (error !== undefined || status !== 0) return undefined;
  const names = [...stdout.matchAll(form)].flatMap(([, name]) => name ?? []);
  return names.length === 0 ? undefined : new Set(names);
}
