/** What one open of a file costs, enforced in each way: wall time, of the fastest of many short series. */

import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ENVIRONMENT } from "../environment.js";
import { compile } from "../material.js";
import { enforced, learn, type Supervise } from "./enforced.js";

/** Opens a file again and again: prints the nanoseconds of one open in the fastest series. Closing is not counted. */
const OPENER = `#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
enum { EACH = 200 };
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}
int main(int argc, char **argv) {
  double best = 1e18;
  for (int series = atoi(argv[1]); series > 0; series--) {
    int fds[EACH];
    double start = now();
    for (int k = 0; k < EACH; k++) fds[k] = open(argv[2], O_RDONLY | O_CLOEXEC);
    double one = (now() - start) / EACH;
    if (one < best) best = one;
    for (int k = 0; k < EACH; k++)
      if (close(fds[k]) != 0) return 1;
  }
  printf("%.1f\\n", best);
  return 0;
}
`;
const SERIES = 100;
const LIMIT_MS = 60_000;

/** How opens are enforced, with the option that does it; the first is without a spec. */
const WAYS = {
  native: undefined,
  "by the kernel": "never",
  "supervised where needed": "auto",
  supervised: "always",
} as const satisfies Record<string, Supervise | undefined>;
export type Way = keyof typeof WAYS;
export const NAMES = Object.keys(WAYS) as Way[];

/** Nanoseconds of one open. */
export function openCost(
  base: string,
  { rounds, scale }: { readonly rounds: number; readonly scale: number },
): Record<Way, number> {
  const dir = join(base, "opens");
  mkdirSync(dir);
  const file = join(dir, "file");
  writeFileSync(file, "text\n");
  const argv = [compile(dir, "opener", OPENER), String(Math.round(SERIES * scale)), file];
  const spec = learn(dir, base, "opens", argv);
  const best = { native: [], "by the kernel": [], "supervised where needed": [], supervised: [] };
  const times: Record<Way, number[]> = best;
  for (let round = 0; round < rounds; round++) {
    for (let k = 0; k < NAMES.length; k++) {
      const way = NAMES[(round + k) % NAMES.length] ?? "native";
      const how = WAYS[way];
      const [program = "", ...args] = how === undefined ? argv : enforced(spec, how, argv);
      const done = spawnSync(program, args, {
        cwd: dir,
        env: ENVIRONMENT,
        encoding: "utf8",
        timeout: LIMIT_MS,
        killSignal: "SIGKILL",
      });
      if (done.status !== 0) throw new Error(`${way}: ended with ${done.status}: ${done.stderr}`);
      times[way].push(Number(done.stdout));
    }
  }
  const fastest = NAMES.map((way) => [way, Math.min(...times[way])]);
  return Object.fromEntries(fastest) as Record<Way, number>;
}
