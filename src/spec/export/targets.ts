/** All formats, and the tables of names that the tools have themselves. */

import { spawnSync } from "node:child_process";
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

/** Names of calls that the target's own tool knows, of those asked about; undefined when it is not installed. */
export function knownCalls(
  target: string,
  names: readonly string[],
): ReadonlySet<string> | undefined {
  if (target === "oci-seccomp") return resolved(names);
  if (target === "systemd")
    return listed(
      "systemd-analyze",
      ["--no-pager", "syscall-filter"],
      /^\s+#?\s*([a-z_][a-z0-9_]*)\s*$/gm,
    );
  if (target === "firejail")
    return listed("firejail", ["--debug-syscalls"], /^\s*\d+\s+- ([a-z_][a-z0-9_]*)\s*$/gm);
  return undefined;
}

/** libseccomp answers for one name at a time; -1 is a name that it does not know. */
function resolved(names: readonly string[]): ReadonlySet<string> | undefined {
  const found = new Set<string>();
  for (const name of names) {
    const { status, stdout, error } = spawnSync("scmp_sys_resolver", ["-a", "x86_64", name], {
      encoding: "utf8",
      timeout: LIMIT_MS,
    });
    if (error !== undefined || status === null) return undefined;
    if (status === 0 && Number(stdout) >= 0) found.add(name);
  }
  return found;
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
