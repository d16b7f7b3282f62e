/** `trace spec run`: a program under a spec. */

import { accessSync, constants as modes, writeSync } from "node:fs";
import { constants } from "node:os";
import { TraceError, usageError } from "../../errors.js";
import { printable } from "../../report/text.js";
import { counted, humanDuration } from "../../report/units.js";
import { allowingLine, grantLine } from "../../spec/check.js";
import { needsDescriptors } from "../../spec/descriptors.js";
import { type Enforced, endDescendants, type Refusal, startEnforced } from "../../spec/enforce.js";
import { readSpec } from "../../spec/file.js";
import { type Learner, learnerOf } from "../../spec/learner.js";
import type { Role, Spec } from "../../spec/model.js";
import { PathPattern } from "../../spec/object.js";
import { expanded, type Tokens } from "../../spec/tokens.js";
import type { CommandContext, CommandDef, ExitStatus } from "../command.js";
import { timeSpan } from "../values.js";
import { tokensHere, withoutLinks } from "./shared.js";

interface Options {
  readonly learn?: boolean;
  readonly weaker?: boolean;
  readonly supervise: "auto" | "always" | "never";
  readonly supervisor: boolean;
  readonly timeout?: number;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

export const command: CommandDef<Options> = {
  name: "spec run",
  summary: "run a program under a spec",
  description:
    "Landlock and a seccomp filter hold the program and all that it starts to what the spec grants, without root. What they cannot " +
    "express (several roles, addresses, metadata) is decided by a supervisor, which performs such calls for the " +
    "program. What is refused is told at once, with the line that would grant it. The exit code is the program's.",
  arguments: [
    { name: "<spec>", help: "spec file" },
    {
      name: "[program]",
      help: "program to run; that of the recording if left out",
      complete: "command",
    },
    { name: "[args...]", help: "its arguments" },
  ],
  passThrough: true,
  failureExitCode: 125,
  options: [
    {
      flags: "--learn",
      help: "refuse nothing but io_uring and what no grant allows; tell what would have been refused, as grants",
    },
    { flags: "--weaker", help: "go on although this kernel lacks a guarantee" },
    {
      flags: "--supervise <when>",
      help: "auto: when the kernel alone would not do; always; never (coarser, see -v)",
      choices: ["auto", "always", "never"],
      default: "auto",
    },
    {
      flags: "--no-supervisor",
      help: "do not even listen for refusals (inside of another sandbox)",
    },
    {
      flags: "--timeout <time>",
      help: "end the program and all that it has started after this time (30, 10m), with exit code 124",
      parse: timeSpan,
    },
    { flags: "-q, --quiet", help: "do not tell what is refused" },
    { flags: "-v, --verbose", help: "tell how it is enforced" },
  ],
  examples: [
    { line: "trace spec run app.spec -- ./app --port 80", help: "with nothing but what it needs" },
    { line: "trace spec run --learn app.spec -- ./app", help: "which grants are missing?" },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<ExitStatus> {
  const { args, options, env } = context;
  const [path, ...words] = args;
  if (path === undefined) throw usageError("no spec is named", "trace spec run SPEC -- PROGRAM");
  const spec = readSpec(path);
  const given = words[0] === "--" ? words.slice(1) : words;
  const command = given.length > 0 ? given : spec.command;
  if (command.length === 0)
    throw usageError("no program is named", "trace spec run SPEC -- PROGRAM");
  const tokens = tokensHere(env);
  const teller = new Teller(options, spec, tokens);
  const running = startEnforced(spec, {
    tokens,
    supervise: options.supervisor ? options.supervise : "never",
    learn: options.learn === true,
    weaker: options.weaker === true,
    notify: options.supervisor,
    inheritDescriptors: options.learn === true || needsDescriptors(spec),
    adopt: options.timeout !== undefined,
    command,
    onRefusal: (refusal) => teller.refused(refusal),
    onLeftOut: (count) => teller.leftOut(count),
  });
  if (options.verbose === true) {
    say(
      `trace: ${running.policy.supervised ? `supervised: ${running.reasons.join("; ")}` : "enforced by the kernel alone"}`,
    );
    for (const line of running.coarse) say(`trace: ${line}`);
  }
  const left = new Left(running.pid, options.verbose === true || context.isTTY.stderr);
  const release = forward(running.pid, left);
  let isLate = false;
  const timer =
    options.timeout &&
    setTimeout(() => {
      isLate = true;
      endDescendants();
    }, options.timeout);
  try {
    const ended = running.status.catch((error: unknown) => {
      throw withReason(spec, error);
    });
    const status = await Promise.race([ended, left.signalled]);
    teller.finish();
    if (typeof status !== "number") {
      running.letGo();
      return status;
    }
    if (isLate) {
      say(`trace: ended after ${humanDuration((options.timeout ?? 0) * 1e6)} (--timeout)`);
      return { exitNow: TIMED_OUT };
    }
    if (status !== 0) teller.explain(running);
    const signal = status & 0x7f;
    return signal === 0 ? { exitNow: (status >> 8) & 0xff } : { signal };
  } finally {
    if (timer) clearTimeout(timer);
    left.forget();
    release();
  }
}

/** Why a program was not started: of one that is there and may be run, that the spec is for another. */
function withReason(spec: Spec, error: unknown): unknown {
  if (!(error instanceof TraceError) || error.code !== "NOT_EXECUTABLE") return error;
  const path = /^(.*): Permission denied$/s.exec(error.message)?.[1];
  if (path === undefined || !isExecutable(path)) return error;
  const hint = `the spec does not let it be run: it is for ${spec.command.join(" ")}; ${ANOTHER_RUN}`;
  const { code, message, exitCode } = error;
  return new TraceError(code, message, {
    hint,
    cause: error,
    ...(exitCode !== undefined && { exitCode }),
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, modes.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** How a program comes to a role. */
const ANOTHER_RUN = "record such a run as well, and give both recordings to trace spec gen";

/** Most different accesses that are told, and remembered for that, and most characters of them. */
const MOST_TOLD = 100_000;
const MOST_CHARACTERS = 1 << 22;

/** As timeout(1). */
const TIMED_OUT = 124;

/** Tells each refusal once. */
class Teller {
  readonly #options: Options;
  readonly #roles: readonly Role[];
  readonly #tokens: Tokens;
  readonly #learner: Learner;
  /** How accesses failed when they were recorded, by role, verb and object. */
  readonly #failed: ReadonlyMap<string, string>;
  /** What each role may run under the name of a link, as the loader that programs name is one. */
  readonly #runs: ReadonlySet<string>;
  readonly #told = new Map<string, number>();
  #characters = 0;
  #isFull = false;
  #leftOut = 0;
  #isLearnerFull = false;
  /** What failed when it was recorded as well, which only matters to a program that fails now. */
  readonly #late: string[] = [];

  constructor(options: Options, { roles }: Spec, tokens: Tokens) {
    this.#options = options;
    this.#roles = roles;
    this.#tokens = tokens;
    this.#learner = learnerOf({ roles }, tokens);
    this.#runs = new Set(
      roles.flatMap(({ name, grants }) =>
        grants
          .filter(({ verb }) => verb === "exec")
          .map(({ object }) => `${name} ${withoutLinks(expanded(object, tokens))}`),
      ),
    );
    this.#failed = new Map(
      roles.flatMap(({ name, probes = [] }) =>
        probes.map(({ verb, object, error }) => [`${name} ${verb} ${object}`, error] as const),
      ),
    );
  }

  refused(refusal: Refusal): void {
    if (refusal.forbidden) {
      this.#forbidden(refusal);
      return;
    }
    if (this.#options.learn === true) {
      this.#learnt(refusal);
      return;
    }
    const { role, call, verb, object, grant, killed } = refusal;
    if (!this.#isNew(`${role} ${verb} ${object}`)) return;
    const proposal = this.#learner.proposal(grant);
    if (this.#options.quiet === true) return;
    const error = this.#failed.get(`${role} ${grant.verb} ${grant.object}`);
    const before = error === undefined ? "" : `, which failed with ${error} when it was recorded`;
    if (killed && !this.#hasRole(object)) {
      say(
        `trace: ${object}: ended: the spec has no role for it${this.#scriptsOf(object)}; ${ANOTHER_RUN}`,
      );
      return;
    }
    const what = killed
      ? `ended: ${object} was started without a grant`
      : `refused ${verb} ${object} (${call})${before}`;
    const line = `trace: ${role}: ${what}; to allow it: ${allowingLine(this.#roles, role, proposal)}`;
    if (error === undefined || this.#options.verbose === true) say(line);
    else this.#late.push(line);
  }

  /** More came at once than can be told. How many in all is said in the end. */
  leftOut(count: number): void {
    if (this.#leftOut === 0 && this.#options.quiet !== true)
      say(`trace: ${this.#accesses} come faster than they can be told: some are left out`);
    this.#leftOut += count;
  }

  get #accesses(): string {
    return this.#options.learn === true ? "missing accesses" : "refusals";
  }

  /** What is refused to everybody, also where grants are learnt. */
  #forbidden({ role, verb, object, call }: Refusal): void {
    if (this.#isNew(`${role} ${verb} ${object}`) && this.#options.quiet !== true)
      say(`trace: ${role}: refused ${verb} ${object} (${call}), which no grant allows`);
  }

  /** Whether a program has a role whatever it is told to run. */
  #hasRole(exe: string): boolean {
    return this.#rolesOf(exe).some(({ script }) => script === undefined);
  }

  #rolesOf(exe: string): readonly Role[] {
    return this.#roles.filter((role) =>
      role.exe.some((own) => new PathPattern(expanded(own, this.#tokens)).matches(exe)),
    );
  }

  /** With what an interpreter has roles. */
  #scriptsOf(exe: string): string {
    const scripts = this.#rolesOf(exe).flatMap(({ script }) => script ?? []);
    return scripts.length === 0 ? "" : ` but with ${scripts.join(", ")}`;
  }

  #learnt({ role, verb, object, grant }: Refusal): void {
    if (verb === "exec" && this.#runs.has(`${role} ${object}`)) return;
    const needed = this.#learner.proposal(grant);
    if (this.#learner.isFull && !this.#isLearnerFull) {
      this.#isLearnerFull = true;
      if (this.#options.quiet !== true)
        say("trace: so many names were made that further ones are proposed as they are");
    }
    if (!this.#isNew(`${role} ${needed.verb} ${needed.object}`)) return;
    if (this.#options.quiet !== true) say(`trace: ${role} needs: ${grantLine(needed)}`);
  }

  /** Whether it comes for the first time. A program that tries anything is not told of for ever. */
  #isNew(key: string): boolean {
    const times = (this.#told.get(key) ?? 0) + 1;
    if (times === 1) this.#characters += key.length;
    if (times === 1 && (this.#told.size >= MOST_TOLD || this.#characters > MOST_CHARACTERS)) {
      if (!this.#isFull && this.#options.quiet !== true)
        say(`trace: ${this.#told.size} different accesses were told: others are not`);
      this.#isFull = true;
      return false;
    }
    this.#told.set(key, times);
    return times === 1;
  }

  /** Of a program that failed. What the kernel refuses by itself it tells nobody. */
  explain({ policy: { supervised, opens } }: Enforced): void {
    for (const line of this.#late) say(line);
    if (this.#told.size > 0 || this.#options.quiet === true || this.#options.learn === true) return;
    const unseen = !supervised ? "files and ports" : opens.reading ? "opening of files" : undefined;
    if (unseen === undefined) return;
    say(
      `trace: note: here the kernel alone decides about ${unseen}, and does not tell what it refuses; to see that: trace spec run --supervise=always`,
    );
  }

  finish(): void {
    if (this.#leftOut > 0 && this.#options.quiet !== true) {
      const more = this.#options.learn === true ? "; add what was told, and run it again" : "";
      say(`trace: ${this.#leftOut} ${this.#accesses} were left out${more}`);
    }
    if (this.#options.verbose !== true || this.#told.size === 0) return;
    const verb = this.#options.learn === true ? "missing" : "refused";
    say(`trace: ${counted(this.#told.size, "different access", "different accesses")} ${verb}`);
  }
}

/** Straight to the descriptor: the program shares the stream, which node would make non-blocking. */
function say(line: string): void {
  try {
    writeSync(2, `${printable(line)}\n`);
  } catch {}
}

/**
 * What the program has left running when it ended itself: it is waited for, since somebody has to decide about its calls. A signal
 * ends that, as nobody else is there to take it.
 */
class Left {
  readonly #pid: number;
  readonly #watch: NodeJS.Timeout | undefined;
  readonly signalled: Promise<{ readonly signal: number }>;
  #end: (status: { readonly signal: number }) => void = () => {};

  constructor(pid: number, tells: boolean) {
    this.#pid = pid;
    this.signalled = new Promise((resolve) => {
      this.#end = resolve;
    });
    if (tells) {
      this.#watch = setInterval(() => {
        if (this.isAlive) return;
        this.forget();
        say("trace: the program has ended; what it has left running goes on under the spec");
      }, TELL_AFTER_MS).unref();
    }
  }

  get isAlive(): boolean {
    try {
      process.kill(this.#pid, 0);
      return true;
    } catch {
      return false;
    }
  }

  end(signal: NodeJS.Signals): void {
    this.#end({ signal: constants.signals[signal] });
  }

  forget(): void {
    clearInterval(this.#watch);
  }
}
const TELL_AFTER_MS = 1000;

/** Signals are the program's as long as it runs: passed on, or sent to it by the terminal as well. */
function forward(pid: number, left: Left): () => void {
  const handle = (name: NodeJS.Signals, isSent: boolean) => {
    const handler = () => {
      try {
        process.kill(pid, isSent ? 0 : constants.signals[name]);
      } catch {
        left.end(name);
      }
    };
    process.on(name, handler);
    return [name, handler] as const;
  };
  const handlers = [
    ...(["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const).map((name) => handle(name, false)),
    ...(["SIGINT", "SIGQUIT"] as const).map((name) => handle(name, true)),
  ];
  return () => {
    for (const [name, handler] of handlers) process.off(name, handler);
  };
}
