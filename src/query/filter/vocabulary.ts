/**
 * Which names of syscalls, classes, errors and signals there are. Tables of the trace's own make
 * can be passed to the parser, which then refuses unknown names; without them it checks their form.
 */

import { constants } from "node:os";

export interface Vocabulary {
  readonly syscalls?: ReadonlySet<string>;
  /** Without `%`. */
  readonly classes?: ReadonlySet<string>;
  readonly errors?: ReadonlySet<string>;
}

/** The classes of the syscall table. */
const tableClasses = [
  "file",
  "desc",
  "network",
  "process",
  "memory",
  "signal",
  "ipc",
  "clock",
  "creds",
];

/** Classes of strace(1) that are short lists of names, and so are no class of the syscall table. */
const listedClasses: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ["stat", new Set(["stat", "stat64", "oldstat"])],
  ["lstat", new Set(["lstat", "lstat64", "oldlstat"])],
  ["fstat", new Set(["fstat", "fstat64", "oldfstat", "newfstatat", "fstatat64"])],
  [
    "%stat",
    new Set([
      ...["stat", "stat64", "oldstat", "lstat", "lstat64", "oldlstat"],
      ...["fstat", "fstat64", "oldfstat", "newfstatat", "fstatat64", "statx"],
    ]),
  ],
  ["statfs", new Set(["statfs", "statfs64"])],
  ["fstatfs", new Set(["fstatfs", "fstatfs64"])],
  ["%statfs", new Set(["statfs", "statfs64", "fstatfs", "fstatfs64", "ustat"])],
  [
    "pure",
    new Set([
      ...["getpid", "getppid", "gettid", "getpgrp", "getuid", "getuid32", "geteuid"],
      ...["geteuid32", "getgid", "getgid32", "getegid", "getegid32"],
    ]),
  ],
]);

/** strace(1) understands these classes without their `%`, too. */
export const LEGACY_CLASSES: ReadonlySet<string> = new Set([
  ...["file", "process", "network", "signal", "ipc", "desc", "memory"],
]);

const classAliases: Readonly<Record<string, string>> = { net: "network" };

export function classNames(vocabulary: Vocabulary): readonly string[] {
  return [...new Set([...(vocabulary.classes ?? tableClasses), ...listedClasses.keys()])];
}

/** Class without its (first) `%` from what the user wrote behind it. */
export function canonicalClass(name: string): string {
  return Object.hasOwn(classAliases, name) ? (classAliases[name] ?? name) : name;
}

/** Whether a syscall with these classes of the table is in the class. */
export function inClass(cls: string, name: string, classes: readonly string[]): boolean {
  return classes.includes(cls) || listedClasses.get(cls)?.has(name) === true;
}

/** All classes of a syscall: those of the table and those that are lists. */
export function allClasses(name: string, classes: readonly string[]): readonly string[] {
  const listed = [...listedClasses].filter(([, names]) => names.has(name));
  return [...classes, ...listed.map(([cls]) => cls)];
}

const errorAliases: Readonly<Record<string, string>> = {
  EWOULDBLOCK: "EAGAIN",
  EDEADLOCK: "EDEADLK",
  ENOTSUP: "EOPNOTSUPP",
};

/** The name under which the error stands in a trace. Any case is understood. */
export function canonicalError(word: string): string | undefined {
  const name = word.toUpperCase();
  if (!/^E[A-Z0-9_]{1,30}$/.test(name)) return undefined;
  return Object.hasOwn(errorAliases, name) ? errorAliases[name] : name;
}

const signalNames = new Map<number, string>();
const signalNumbers = new Map<string, number>();
for (const [name, number] of Object.entries(constants.signals)) {
  if (!signalNames.has(number)) signalNames.set(number, name);
  signalNumbers.set(name, number);
}
signalNumbers.set("SIGCLD", constants.signals.SIGCHLD);

/** Signals that have a name of their own; real-time signals are `SIGRTMIN` and `SIGRT_1` to `SIGRT_32`. */
export const SIGNAL_NAMES: readonly string[] = [...signalNames.values()];

/** The name under which the signal stands in a trace: from `SIGINT`, `int`, `2`, or an alias. */
export function canonicalSignal(word: string): string | undefined {
  if (/^\d{1,2}$/.test(word)) return signalNames.get(Number(word)) ?? realTime(Number(word));
  const upper = word.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  if (/^SIG(?:RTMIN|RT_(?:[1-9]|[12]\d|3[0-2]))$/.test(name)) return name;
  const number = signalNumbers.get(name);
  return number === undefined ? undefined : signalNames.get(number);
}

/** As strace names them: 32 is SIGRTMIN, 33 is SIGRT_1. */
function realTime(number: number): string | undefined {
  if (number < 32 || number > 64) return undefined;
  return number === 32 ? "SIGRTMIN" : `SIGRT_${number - 32}`;
}
