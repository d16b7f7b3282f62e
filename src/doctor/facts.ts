/** What /proc and the environment say of this machine. Nothing here judges; a fact that cannot be read is undefined. */

import { existsSync, readFileSync, statfsSync } from "node:fs";
import { availableParallelism, cpus, release } from "node:os";

type Env = Readonly<Record<string, string | undefined>>;

export interface MachineFacts {
  readonly kernel: string;
  /** `docker`, `podman`, `kubernetes`, `lxc`, `nspawn`, `container`; undefined outside. */
  readonly container: string | undefined;
  /** 0 all of the same user, 1 children, 2 administrators, 3 nobody; undefined without Yama. */
  readonly ptraceScope: number | undefined;
  /** This process's own seccomp mode: 0 none, 2 filtered. */
  readonly seccomp: number | undefined;
  readonly noNewPrivs: boolean;
  readonly isRoot: boolean;
  readonly canPtraceAll: boolean;
  /** Process id and name of the tracer of this process. */
  readonly tracer: { readonly pid: number; readonly name: string } | undefined;
  readonly cpus: number;
  /** CPUs that this process may use. */
  readonly usable: number;
  /** Whether other users' processes are hidden in /proc. */
  readonly hidesProcesses: boolean;
  /** Bytes left in the current folder; undefined when it cannot be asked. */
  readonly freeBytes: number | undefined;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}

const CAP_SYS_PTRACE = 1n << 19n;

export function machineFacts(env: Env): MachineFacts {
  const status = new Map(
    (read("/proc/self/status") ?? "").split("\n").map((line) => {
      const [key = "", value = ""] = line.split(":\t");
      return [key, value.trim()] as const;
    }),
  );
  const number = (key: string): number | undefined => {
    const text = status.get(key);
    return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
  };
  const tracer = number("TracerPid") ?? 0;
  const scope = Number.parseInt(read("/proc/sys/kernel/yama/ptrace_scope") ?? "", 10);
  const effective = BigInt(`0x${/^[\da-f]+$/.exec(status.get("CapEff") ?? "")?.[0] ?? "0"}`);
  return {
    kernel: release(),
    container: containerOf(env),
    ptraceScope: Number.isNaN(scope) ? undefined : scope,
    seccomp: number("Seccomp"),
    noNewPrivs: number("NoNewPrivs") === 1,
    isRoot: process.geteuid?.() === 0,
    canPtraceAll: (effective & CAP_SYS_PTRACE) !== 0n,
    tracer:
      tracer === 0
        ? undefined
        : { pid: tracer, name: (read(`/proc/${tracer}/comm`) ?? "?").trim() },
    cpus: cpus().length,
    usable: availableParallelism(),
    hidesProcesses: /^\S+ \/proc proc \S*hidepid=(?:[12]|invisible|noaccess)/m.test(
      read("/proc/self/mounts") ?? "",
    ),
    freeBytes: freeBytes("."),
  };
}

function containerOf(env: Env): string | undefined {
  if (existsSync("/run/.containerenv")) return "podman";
  if (existsSync("/.dockerenv")) return "docker";
  if (env.KUBERNETES_SERVICE_HOST !== undefined) return "kubernetes";
  const marked =
    /(?:^|\0)container=([\w-]+)/.exec(read("/proc/1/environ") ?? "")?.[1] ?? env.container;
  if (marked === "lxc" || marked === "podman" || marked === "docker") return marked;
  if (marked === "systemd-nspawn") return "nspawn";
  if (marked !== undefined && marked !== "") return "container";
  const groups = read("/proc/1/cgroup") ?? "";
  return /docker|kubepods|containerd|libpod|lxc/.exec(groups)?.[0];
}

function freeBytes(path: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}
