/** Running a program under a spec: the policy handed to the engine, and refusals as they come back, in the spec's words. */

import { readdirSync, readFileSync } from "node:fs";
import { syscallName } from "../decode/context.js";
import { choiceName } from "../decode/flags.js";
import { TraceError } from "../errors.js";
import { append } from "../group.js";
import { native } from "../native.js";
import { openFilesLimit } from "../record.js";
import { unwrap } from "../trace/failure.js";
import { socketWords } from "./access.js";
import { USER_CALLS } from "./calls.js";
import { choiceObject } from "./choices.js";
import { type Compiled, type CompileOptions, compilePolicy } from "./compile.js";
import type { Grant, Spec } from "./model.js";
import { literalPath } from "./object.js";
import { type Tokens, tokenised } from "./tokens.js";

/** An access that was refused, and the grant that would allow it. */
export interface Refusal {
  readonly role: string;
  readonly pid: number;
  /** Name of the call. */
  readonly call: string;
  readonly verb: string;
  readonly object: string;
  readonly grant: Pick<Grant, "verb" | "object">;
  /** The process was ended, since it ran a program that its role may not run. */
  readonly killed: boolean;
  /** No grant would allow it: it is refused to everybody. */
  readonly forbidden: boolean;
}

/** As the engine writes it. */
interface RawRefusal {
  readonly role: string;
  readonly pid: number;
  readonly call: number;
  readonly verb: string;
  readonly object: string;
  readonly errno: number;
  readonly killed: boolean;
  readonly forbidden: boolean;
}

/** More was refused at once than can be told; or nothing more will be. */
interface RawLeftOut {
  readonly leftOut: number;
  readonly isLast: boolean;
}

/** Who is told of refusals, and of how many are left out. */
export interface Told {
  readonly onRefusal: (refusal: Refusal) => void;
  readonly onLeftOut?: (count: number) => void;
}

/** Who takes what the engine writes of refusals. */
export interface Taking {
  readonly take: (text: string) => void;
  /** The same value, when all has been taken that was refused to a program that has ended. */
  readonly all: <T>(value: T) => Promise<T>;
}

/** Tells what the engine writes. */
export function tellRefusals(tokens: Tokens, { onRefusal, onLeftOut }: Told): Taking {
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const take = (text: string) => {
    const written = JSON.parse(text) as RawRefusal | RawLeftOut;
    if (!("leftOut" in written)) return onRefusal(refusalOf(written, tokens));
    if (written.leftOut > 0) onLeftOut?.(written.leftOut);
    if (written.isLast) end();
  };
  const all = async <T>(value: T) => {
    // Refusals that are on their way keep no process.
    const stay = setInterval(() => {}, 1000);
    await ended;
    clearInterval(stay);
    return value;
  };
  return { take, all };
}

function refusalOf(refusal: RawRefusal, tokens: Tokens): Refusal {
  const { role, pid, call, verb, object: raw, killed, forbidden } = refusal;
  const object = plainObject(verb, raw);
  return {
    role,
    pid,
    call: syscallName(0, call),
    verb,
    object,
    grant: { verb: verb as Grant["verb"], object: grantObject(object, tokens) },
    killed,
    forbidden,
  };
}

/** Names of what calls are told to do. */
const COMMANDS: ReadonlyMap<string, string> = new Map([
  ["fcntl", "fcntl_cmd"],
  ["ioctl", "ioctl_names"],
  ["prctl", "prctl_option"],
  ["prlimit64", "rlimit_resource"],
  ["setrlimit", "rlimit_resource"],
]);

function plainObject(verb: string, object: string): string {
  if (verb !== "syscall") return object;
  const socket = /^socket (-?\d+) (-?\d+) (-?\d+)$/.exec(object);
  if (socket !== null) {
    return `socket(${socketWords(Number(socket[1]), Number(socket[2]), Number(socket[3]))})`;
  }
  // With the ids of whom a program becomes, or what a call chooses by.
  const [number = "", ...words] = object.split(" ");
  const name = syscallName(0, Number(number));
  if (words.length === 0) return name;
  const choice = choiceObject(name, words.map(Number));
  const set = COMMANDS.get(name);
  return (
    choice ??
    `${name}(${words.map((word) => (set && choiceName(set, Number(word))) ?? word).join()})`
  );
}

function grantObject(object: string, tokens: Tokens): string {
  if (object.startsWith("unix:/")) return `unix:${tokenised(object.slice("unix:".length), tokens)}`;
  if (!object.startsWith("/")) return object;
  const path = tokenised(object, tokens);
  return path === literalPath(object) ? path.replace(/^\/proc\/\d+(?=\/|$)/, "/proc/@{pid}") : path;
}

export interface EnforceOptions extends CompileOptions, Told {
  readonly command: readonly (string | Uint8Array)[];
  readonly cwd?: string;
  readonly env?: readonly Uint8Array[];
  /** Go on although the kernel lacks a guarantee. */
  readonly weaker?: boolean;
  /** Another supervisor is there already: nothing is reported, and nothing is told apart by roles. */
  readonly notify?: boolean;
  readonly inheritDescriptors?: boolean;
  /** All that the program starts stays below this process, which starts nothing else, so that `endDescendants` finds it. */
  readonly adopt?: boolean;
}

export interface Enforced extends Compiled {
  readonly pid: number;
  /** The program's wait status, when all that it started has ended. */
  readonly status: Promise<number>;
  /** What it has left running goes on when this process ends; otherwise all that it has started is killed then. */
  readonly letGo: () => void;
}

/** First kernel of each version of Landlock that adds a guarantee, and what is missing before. */
const LANDLOCK_ADDS: readonly (readonly [version: number, missing: string])[] = [
  [1, "files: any path can be read and written as the user may"],
  [3, "truncation of files"],
  [4, "TCP ports: any can be connected to and bound"],
  [5, "ioctl on devices"],
  [6, "signals to processes outside, and abstract unix sockets"],
];

/** What this kernel cannot guarantee, a sentence each. */
export function missingGuarantees(version: number = native().landlockVersion()): string[] {
  return LANDLOCK_ADDS.filter(([since]) => version < since).map(([, missing]) => missing);
}

/** The policy of a spec for this machine. @throws TraceError `WEAKER` when the kernel lacks a guarantee and that was not accepted */
export function preparePolicy(
  spec: Spec,
  options: CompileOptions & { readonly weaker?: boolean },
): Compiled {
  const missing = missingGuarantees();
  if (missing.length > 0 && options.weaker !== true && options.learn !== true) {
    throw new TraceError(
      "WEAKER",
      `this kernel offers version ${native().landlockVersion()} of Landlock; without more these stay open: ${missing.join("; ")}`,
      { hint: "accept that with --weaker, or use a newer kernel" },
    );
  }
  const compiled = compilePolicy(spec, options);
  const accepted = options.weaker === true || options.learn === true;
  if (compiled.policy.supervised && !accepted && process.geteuid?.() === 0 && changesUser(spec)) {
    throw new TraceError(
      "WEAKER",
      "the supervisor performs calls with its own rights, those of root, also for programs that give root up as this one does",
      { hint: "run it as an ordinary user, or accept that with --weaker" },
    );
  }
  return compiled;
}

/** Whether a recorded program has become another user, or given rights of root up, credentials(7). */
function changesUser(spec: Spec): boolean {
  const grants = spec.roles.flatMap((role) => role.grants);
  return grants.some(
    ({ verb, object, because }) =>
      verb === "syscall" &&
      because === undefined &&
      (object === "capset" || USER_CALLS.has(/^(\w+)\(/.exec(object)?.[1] ?? "")),
  );
}

/** @throws TraceError NOT_FOUND, NOT_EXECUTABLE, POLICY, NESTED, WEAKER, ... when it cannot begin */
export function startEnforced(spec: Spec, options: EnforceOptions): Enforced {
  const compiled = preparePolicy(spec, options);
  const bytes = (text: string | Uint8Array) =>
    typeof text === "string" ? Buffer.from(text) : text;
  const { take, all } = tellRefusals(options.tokens, options);
  const running = unwrap(
    native().startEnforced(
      {
        argv: options.command.map(bytes),
        policy: JSON.stringify(compiled.policy),
        notify: options.notify ?? true,
        inherit: options.inheritDescriptors ?? false,
        adopt: options.adopt ?? false,
        ...(options.env && { env: options.env }),
        ...(options.cwd !== undefined && { cwd: Buffer.from(options.cwd) }),
        ...openFilesLimit(),
      },
      take,
    ),
  );
  const status = running.wait().then(unwrap).then(all);
  return { ...compiled, pid: running.pid, status, letGo: () => running.letGo() };
}

/** Kills all processes below this one. They are stopped first, so that none starts another one or loses its parent meanwhile. */
export function endDescendants(): void {
  const stopped = new Set<number>();
  for (;;) {
    const found = descendantsOf(process.pid).filter((pid) => !stopped.has(pid));
    if (found.length === 0) break;
    for (const pid of found) {
      stopped.add(pid);
      signalled(pid, "SIGSTOP");
    }
  }
  for (const pid of stopped) signalled(pid, "SIGKILL");
}

function signalled(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {}
}

/** Numbers of all processes below one. */
function descendantsOf(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentOf(name);
    if (parent === undefined) continue;
    append(children, parent, Number(name));
  }
  const found = [...(children.get(root) ?? [])];
  for (const pid of found) found.push(...(children.get(pid) ?? []));
  return found;
}

/** Its parent's number: the second field behind the name, which may hold anything (proc_pid_stat(5)). */
function parentOf(pid: string): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(
      stat
        .slice(stat.lastIndexOf(")") + 1)
        .trim()
        .split(" ")[1],
    );
  } catch {
    return undefined;
  }
}
