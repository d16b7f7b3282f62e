/**
 * A systemd of its own, as the first process of new namespaces: it has its own units, cgroups and network (nothing but
 * loopback), and sees the files of the machine. Nothing of it is left when it is gone.
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { lacking } from "../support/tools.js";
import type { Ran } from "./support.js";

const MANAGER = "/lib/systemd/systemd";
const START_MS = 20_000;

/** What units depend on unless they say otherwise. */
const TARGETS = ["sysinit.target", "basic.target", "shutdown.target"];

/** $1: directory of the instance; $2: name of its cgroup. */
const JOIN = `
mount --make-rprivate /
mkdir "$1/cgroup" && mount -t cgroup2 cgroup2 "$1/cgroup"
mkdir "$1/cgroup/$2" && echo $$ > "$1/cgroup/$2/cgroup.procs"
umount "$1/cgroup"
exec unshare --cgroup --pid --fork --kill-child --net --uts --ipc sh -ec "$3" sh "$1"
`;

/**
 * As systemd wants a container to look (systemd.io/CONTAINER_INTERFACE). Settings of the kernel cannot be written there. No
 * file system is mounted over another: systemd would not make all that is below read-only.
 */
const BOOT = `
umount --recursive --lazy /run 2> /dev/null || true
mount -t tmpfs tmpfs /run
mkdir -p /run/dev/shm /run/dev/pts
for name in null zero full random urandom tty; do
  touch "/run/dev/$name" && mount --bind "/dev/$name" "/run/dev/$name"
done
ln -s pts/ptmx /run/dev/ptmx && ln -s /proc/self/fd /run/dev/fd
umount --recursive --lazy /sys && mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
umount --recursive --lazy /dev && mount --rbind /run/dev /dev
mount -t tmpfs tmpfs /dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
umount --recursive --lazy /proc && mount -t proc proc /proc
mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys
ip link set lo up
ip address add 10.9.8.7/32 dev lo
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=test SYSTEMD_UNIT_PATH="$1/units" \\
  SYSTEMD_GENERATOR_PATH="$1/none" SYSTEMD_ENVIRONMENT_GENERATOR_PATH="$1/none" \\
  ${MANAGER} --system --unit=basic.target --show-status=no
`;

/** Takes the cgroups of the instance away. */
const LEAVE = `
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$1/cgroup"
for group in $(find "$1/cgroup/$2" -depth -type d); do rmdir "$group"; done
`;

/** Why no systemd can be started here. */
export function lackingSystemd(): string | undefined {
  if (process.geteuid?.() !== 0) return "namespaces of cgroups are made by root";
  if (!existsSync(MANAGER)) return `there is no ${MANAGER}`;
  for (const tool of ["unshare", "nsenter", "ip", "systemctl"])
    if (lacking(tool)) return `there is no ${tool}`;
  const tried = spawnSync(
    "unshare",
    ["--mount", "sh", "-c", "mount --make-rprivate / && mount -t cgroup2 cgroup2 /mnt"],
    { encoding: "utf8" },
  );
  return tried.status === 0 ? undefined : `cgroups cannot be mounted: ${tried.stderr.trim()}`;
}

export class Systemd {
  /** An address besides those of loopback. */
  static readonly otherHost = "10.9.8.7";

  readonly #base: string;
  readonly #group = `trace-spec-test-${process.pid}`;
  readonly #process: ChildProcess;
  #said = "";
  #pid: string | undefined;

  /** `base`: a directory that is there, and where the instance puts what it needs. */
  constructor(base: string) {
    this.#base = base;
    for (const name of ["units", "none"]) mkdirSync(join(base, name));
    for (const name of TARGETS) this.unit(name, "[Unit]\nDefaultDependencies=no\n");
    this.#process = spawn(
      "unshare",
      ["--mount", "sh", "-ec", JOIN, "sh", base, this.#group, BOOT],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#said += text;
    });
  }

  /** Waits until it takes orders. */
  async started(): Promise<void> {
    const end = Date.now() + START_MS;
    do {
      this.#pid ??= this.#manager();
      if (this.#pid !== undefined && this.systemctl("is-system-running").stdout === "running\n") {
        return;
      }
      await wait(50);
    } while (Date.now() < end && this.#process.exitCode === null);
    throw new Error(`systemd does not start: ${this.#said}`);
  }

  /** The first process of the namespace, once it is systemd. */
  #manager(): string | undefined {
    const { pid } = this.#process;
    try {
      const child = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
      return readFileSync(`/proc/${child}/comm`, "utf8") === "systemd\n" ? child : undefined;
    } catch {
      // One that has ended.
      return undefined;
    }
  }

  unit(name: string, text: string): void {
    writeFileSync(join(this.#base, "units", name), text);
  }

  /** Runs a command among what systemd runs, but held by no unit. */
  run(...words: string[]): Ran {
    const inside = ["--target", this.#pid ?? "", "--mount", "--pid", "--net", "--", ...words];
    const { status, stdout, stderr } = spawnSync("nsenter", inside, {
      encoding: "utf8",
      timeout: START_MS,
    });
    return { status, stdout, stderr };
  }

  systemctl(...words: string[]): Ran {
    return this.run("systemctl", "--no-pager", ...words);
  }

  async leave(): Promise<void> {
    if (this.#process.exitCode === null) {
      const ended = new Promise((done) => this.#process.once("close", done));
      this.#process.kill("SIGKILL");
      await ended;
    }
    // The kernel takes the last processes out of their cgroups after their end.
    for (let tries = 0; tries < 50; tries++) {
      const { status } = spawnSync(
        "unshare",
        ["--mount", "sh", "-ec", LEAVE, "sh", this.#base, this.#group],
        { stdio: "ignore" },
      );
      if (status === 0) break;
      await wait(100);
    }
    rmSync(this.#base, { recursive: true, force: true });
  }
}
