/** How much memory a database may take, and where it puts what does not fit. */

import { mkdirSync, readFileSync, statfsSync } from "node:fs";
import { homedir, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { temporaryDirectory } from "../temporary.js";

const CGROUPS = "/sys/fs/cgroup";

/** Bytes of memory that this process and what it shares a container with may take. */
export function memoryBound(read: (path: string) => string | undefined = readText): number {
  const bounds = [totalmem()];
  for (const line of (read("/proc/self/cgroup") ?? "").split("\n")) {
    const [hierarchy, controllers = "", path = ""] = line.split(":");
    if (hierarchy === "0") bounds.push(...groupBounds(CGROUPS, path, "memory.max", read));
    // Version 1 has a hierarchy for each controller.
    else if (controllers.split(",").includes("memory")) {
      bounds.push(...groupBounds(`${CGROUPS}/memory`, path, "memory.limit_in_bytes", read));
    }
  }
  return Math.min(...bounds);
}

/** The bounds of a group and of those that it is in; `max` is none. */
function groupBounds(
  root: string,
  path: string,
  file: string,
  read: (path: string) => string | undefined,
): number[] {
  const found: number[] = [];
  const parts = path.split("/").filter((part) => part !== "" && part !== "..");
  for (let depth = parts.length; depth >= 0; depth--) {
    const text = read(join(root, ...parts.slice(0, depth), file))?.trim();
    if (text !== undefined && /^\d{1,19}$/.test(text)) found.push(Number(text));
  }
  return found;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

const MIB = 2 ** 20;

/** What the database takes of that: enough for most questions, and room for this process and others. */
export function databaseMemory(bound: number = memoryBound()): number {
  return Math.round(Math.min(Math.max(bound / 8, 128 * MIB), 4096 * MIB));
}

/** `TMPFS_MAGIC` of linux/magic.h. */
const TMPFS = 0x0102_1994;

/** A new directory for what does not fit, on a disk: files of a tmpfs are memory. */
export function spillDirectory(env: Readonly<Record<string, string | undefined>>): string {
  const cache = join(env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "trace");
  for (const place of [env.TMPDIR ?? tmpdir(), cache]) {
    try {
      mkdirSync(place, { recursive: true });
      if (statfsSync(place).type !== TMPFS) return temporaryDirectory(join(place, "trace-query-"));
    } catch {
      // Not there, or not ours to write: the next one.
    }
  }
  return temporaryDirectory(join(tmpdir(), "trace-query-"));
}
