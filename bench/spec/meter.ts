/**
 * Counts the CPU time of a program from inside its sandbox: a small program starts it and asks the kernel what it took. So the
 * start of `trace` is left out, and what the kernel checks for the program is counted, to the microsecond.
 */

import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { ENVIRONMENT } from "../environment.js";
import { compile } from "../material.js";

const LIMIT_MS = 180_000;

/**
 * `meter TIMES FILTERS PROGRAM ...`: runs the program TIMES times, below as many filters that allow every call, and prints the
 * microseconds of CPU time that each run took, with all that it waited for.
 */
const SOURCE = `#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static long long microseconds(struct timeval time) { return time.tv_sec * 1000000LL + time.tv_usec; }
static int allow_all(void) {
  struct sock_filter code = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
  struct sock_fprog program = {1, &code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
int main(int argc, char **argv) {
  if (argc < 4) return 2;
  for (int filters = atoi(argv[2]); filters > 0; filters--)
    if (allow_all() != 0) return 3;
  for (int times = atoi(argv[1]); times > 0; times--) {
    int status;
    struct rusage used;
    pid_t child = fork();
    if (child < 0) return 4;
    if (child == 0) {
      int null = open("/dev/null", O_WRONLY);
      if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || close(null) != 0) _exit(126);
      execvp(argv[3], argv + 3);
      _exit(127);
    }
    if (wait4(child, &status, 0, &used) != child || status != 0) return 1;
    printf("%lld\\n", microseconds(used.ru_utime) + microseconds(used.ru_stime));
  }
  return 0;
}
`;

export class Meter {
  readonly #program: string;

  constructor(base: string) {
    const dir = join(base, "meter");
    mkdirSync(dir);
    this.#program = compile(dir, "meter", SOURCE);
  }

  /** The words that run a program so many times, below so many filters that allow every call. */
  words(argv: readonly string[], { times = 1, filters = 0 } = {}): string[] {
    return [this.#program, String(times), String(filters), ...argv];
  }

  /** Runs such words, or a command that does; seconds of CPU time of each run, and what was complained of. */
  run(dir: string, words: readonly string[]): { seconds: number[]; complaints: string } {
    const [program = "", ...args] = words;
    const done = spawnSync(program, args, {
      cwd: dir,
      env: ENVIRONMENT,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      timeout: LIMIT_MS,
      killSignal: "SIGKILL",
    });
    const complaints = done.stderr.trim();
    if (done.error !== undefined) throw done.error;
    if (done.status !== 0) {
      const how = done.status ?? done.signal;
      throw new Error(`${words.slice(0, 8).join(" ")}: ended with ${how}: ${complaints}`);
    }
    const seconds = done.stdout
      .trim()
      .split("\n")
      .map((line) => Number(line) / 1e6);
    return { seconds, complaints };
  }
}
