/**
 * Counts the CPU time of a program from inside its sandbox: a small program starts it and asks the kernel what it took. So what
 * the kernel checks for the program is counted, to the microsecond, and the start of `trace` is not: it is paid once, and then
 * natively and enforced one run follows the other.
 */

import { type ChildProcessByStdio, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { ENVIRONMENT } from "../environment.js";
import { compile } from "../material.js";

/** Longest time that the start of a sandbox and one run may take. */
const LIMIT_MS = 180_000;

/**
 * `meter LEVEL PROGRAM ...`: runs the program once for each byte of its input, and prints the microseconds of CPU time that it
 * took, with all that it waited for. From level 1 on it is below a filter that allows every call, at level 2 also in a domain of
 * Landlock that handles what can be done to files (but truncating, which a filter can hold) and grants all of it: each directory
 * below the working directory has a rule, so that no open is asked beyond the first. At level 3 each file has a rule as well, as
 * it must have where files are granted by their names: the more rules there are, the longer the kernel looks for one.
 */
const SOURCE = `#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/landlock.h>
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
enum { OF_FILES = 7, TRUNCATE = 1 << 14, DEVICES = 1 << 15, MOST_OPEN = 64 };
static int rules, has_files;
static __u64 handled;
static int grant(const char *path, const struct stat *facts, int kind, struct FTW *where) {
  (void)facts;
  (void)where;
  if (kind != FTW_D && (kind != FTW_F || !has_files)) return 0;
  struct landlock_path_beneath_attr rule = {.allowed_access = handled, .parent_fd = open(path, O_PATH | O_CLOEXEC)};
  if (kind == FTW_F) rule.allowed_access &= OF_FILES | DEVICES;
  int failed = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0;
  close(rule.parent_fd);
  return failed;
}
static int enter_domain(void) {
  struct landlock_ruleset_attr attr = {0};
  long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) return 1;
  handled = version >= 5 ? (DEVICES << 1) - 1 - TRUNCATE : version >= 2 ? TRUNCATE - 1 : LANDLOCK_ACCESS_FS_REFER - 1;
  attr.handled_access_fs = handled;
  rules = syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
  if (rules < 0 || grant("/", NULL, FTW_D, NULL) || grant("/usr", NULL, FTW_D, NULL)) return 1;
  if (nftw(".", grant, MOST_OPEN, FTW_PHYS) != 0) return 1;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_landlock_restrict_self, rules, 0) || close(rules);
}
static void run(char **argv) {
  int null = open("/dev/null", O_RDWR);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 || close(null) != 0) _exit(126);
  execvp(argv[0], argv);
  _exit(127);
}
int main(int argc, char **argv) {
  char byte;
  if (argc < 3) return 2;
  int level = atoi(argv[1]);
  has_files = level >= 3;
  if (level >= 2 && enter_domain() != 0) return 5;
  if (level >= 1 && allow_all() != 0) return 3;
  while (read(STDIN_FILENO, &byte, 1) == 1) {
    int status;
    struct rusage used;
    pid_t child = fork();
    if (child < 0) return 4;
    if (child == 0) run(argv + 2);
    if (wait4(child, &status, 0, &used) != child || status != 0) return 1;
    printf("%lld\\n", microseconds(used.ru_utime) + microseconds(used.ru_stime));
    fflush(stdout);
  }
  return 0;
}
`;

/** What a program is run below, that refuses nothing. */
export const LEVELS = { nothing: 0, filter: 1, both: 2, named: 3 } as const;
export type Level = keyof typeof LEVELS;

/** Builds the meter; gives the words that run a program by it. */
export function makeMeter(base: string): (argv: readonly string[], below: Level) => string[] {
  const dir = join(base, "meter");
  mkdirSync(dir);
  const program = compile(dir, "meter", SOURCE);
  return (argv, below) => [program, String(LEVELS[below]), ...argv];
}

/** The process of a meter that runs, or of a command that runs one. */
class Running {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly lines: Interface;
  complaints = "";

  constructor(dir: string, words: readonly string[]) {
    const [program = "", ...args] = words;
    this.child = spawn(program, args, {
      cwd: dir,
      env: ENVIRONMENT,
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.child.stdin.on("error", () => {});
    this.child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.complaints += text;
    });
    this.lines = createInterface({ input: this.child.stdout });
  }
}

/**
 * A meter, or a command that runs one. It is started by its first run: rules of Landlock are made of the files that are there then, and
 * what another meter's program has made is no business of this one.
 */
export class Metered {
  readonly #dir: string;
  readonly #words: readonly string[];
  #running: Running | undefined;

  constructor(dir: string, words: readonly string[]) {
    this.#dir = dir;
    this.#words = words;
  }

  /** Runs the program once; CPU seconds. */
  async run(): Promise<number> {
    this.#running ??= new Running(this.#dir, this.#words);
    const running = this.#running;
    const { child, lines } = running;
    const limit = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
    const line = new Promise<string | undefined>((resolve) => {
      lines.once("line", resolve);
      child.once("close", () => resolve(undefined));
    });
    child.stdin.write(".");
    const told = await line;
    clearTimeout(limit);
    child.removeAllListeners("close");
    // One that was refused something does not do what it does natively.
    if (told === undefined || /^trace: .*: (?:refused|ended:) /m.test(running.complaints)) {
      throw new Error(`${this.#words.slice(0, 9).join(" ")}: ${running.complaints.trim()}`);
    }
    return Number(told) / 1e6;
  }

  /** Ends it. */
  async close(): Promise<void> {
    const child = this.#running?.child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("close", resolve));
    const limit = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
    child.stdin.end();
    await ended;
    clearTimeout(limit);
  }
}
