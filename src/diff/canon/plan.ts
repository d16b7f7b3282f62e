/** From a call's form, or its row in the syscall table, to the steps by which its canonical hash is made. Once per syscall. */

import { rowIndex, syscallName } from "../../decode/context.js";
import { isScalar, registerSize } from "../../decode/scalar.js";
import { layout } from "../../decode/struct.js";
import {
  type ArgRow,
  type Ret,
  type StructRow,
  SYSCALLS,
  type SyscallRow,
} from "../../decode/tables.generated.js";
import "../../decode/irregular/all.js";
import type { RuleSet } from "../rules.js";
import { FORMS, type Form } from "./forms.js";
import { textHash } from "./hash.js";

export const Op = {
  Path: 0,
  Descriptor: 1,
  Process: 2,
  Word: 3,
  Long: 4,
  NotZero: 5,
  Constant: 6,
  LinkBit: 7,
  Mode: 8,
  Text: 9,
  Status: 10,
  Data: 11,
  Address: 12,
  Bytes: 13,
  Struct: 14,
  Decode: 15,
  Control: 16,
  Clock: 17,
} as const;

/** What of a call chance decides, which is compared otherwise. */
export const Chance = {
  None: 0,
  Clone: 1,
  Clone3: 2,
  Exec: 3,
  Sleep: 4,
  SleepUntil: 5,
  End: 6,
} as const;

const CHANCES: Readonly<Record<string, number>> = {
  clone: Chance.Clone,
  clone3: Chance.Clone3,
  execve: Chance.Exec,
  execveat: Chance.Exec,
  nanosleep: Chance.Sleep,
  clock_nanosleep: Chance.SleepUntil,
  exit_group: Chance.End,
};

export interface Step {
  readonly op: number;
  /** Argument, or the constant. */
  readonly k: number;
  /** For outputs true: there only after success. */
  readonly out: boolean;
  /** Of a path: the argument with its directory, or -1. */
  readonly base: number;
  /** Parts of a struct that are compared: offset and size, one after the other. */
  readonly parts: readonly number[];
  /** Of the status of a file: where the number of its inode is, or -1. */
  readonly inode: number;
}

export interface Plan {
  /** Of the plans of a comparison, in the order in which they were made. */
  readonly number: number;
  readonly call: string;
  readonly verb: number;
  readonly verbHash: number;
  readonly aside: boolean;
  readonly chance: number;
  /** Whether it makes a file that was not there before, or may; a socket at a path; an object without a path; a System V id. */
  readonly makes: "file" | "open" | "socket" | "object" | "id" | undefined;
  /** It never waits: when it takes long, the machine was busy. */
  readonly quick: boolean;
  readonly steps: readonly Step[];
  /** Whether the kernel tells an address in it. */
  readonly told: boolean;
  readonly run: Form["run"];
  /** Whether the result is a number that means something. */
  readonly result: boolean;
  /** Where the bytes are that it moves: slot, way, and whether in one piece or a list. */
  readonly data:
    | { readonly slot: number; readonly out: boolean; readonly shape: string }
    | undefined;
  /** Nothing of these bytes is looked at but their digest. */
  readonly digested: boolean;
}

/** Numbers of verbs, the same for all traces of a comparison. */
export class Verbs {
  readonly names: string[] = [];
  readonly #numbers = new Map<string, number>();

  of(name: string): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.names.push(name) - 1;
      this.#numbers.set(name, number);
    }
    return number;
  }
}

const LETTERS: Readonly<Record<string, readonly [op: number, out: boolean]>> = {
  p: [Op.Path, false],
  f: [Op.Descriptor, false],
  k: [Op.Process, false],
  w: [Op.Word, false],
  q: [Op.Long, false],
  n: [Op.NotZero, false],
  c: [Op.Constant, false],
  a: [Op.LinkBit, false],
  m: [Op.Mode, false],
  z: [Op.Text, false],
  t: [Op.Status, true],
  d: [Op.Data, false],
  x: [Op.Address, false],
  y: [Op.Address, true],
  i: [Op.Bytes, false],
  o: [Op.Bytes, true],
  s: [Op.Struct, false],
  u: [Op.Struct, true],
  v: [Op.Decode, false],
  g: [Op.Control, false],
  l: [Op.Clock, false],
};

/** How calls are compared, worked out once for all traces of a comparison. */
export class Plans {
  readonly rules: RuleSet;
  readonly verbs: Verbs;
  readonly #known: (Plan | undefined)[][] = [[], []];
  readonly #others = new Map<string, Plan>();
  #count = 0;
  #moves: Uint8Array | undefined;

  constructor(rules: RuleSet) {
    this.rules = rules;
    this.verbs = new Verbs();
  }

  of(arch: number, sysno: number): Plan {
    const known = this.#known[arch === 1 ? 1 : 0]?.[sysno];
    if (known !== undefined) return known;
    return this.#others.get(`${arch}/${sysno}`) ?? this.#make(arch, sysno);
  }

  #make(arch: number, sysno: number): Plan {
    const plan = planOf(arch, sysno, this, this.#count++);
    const table = this.#known[arch === 1 ? 1 : 0];
    if (table !== undefined && sysno >= 0 && sysno < MOST_CALLS) table[sysno] = plan;
    else this.#others.set(`${arch}/${sysno}`, plan);
    return plan;
  }

  /** For `ReadOptions.moves`: the calls of which nothing but the digest of the bytes is looked at. */
  get moves(): Uint8Array {
    this.#moves ??= movesOf((arch, sysno) => this.of(arch, sysno));
    return this.#moves;
  }
}

function planOf(
  arch: number,
  sysno: number,
  { rules, verbs }: Pick<Plans, "rules" | "verbs">,
  number: number,
): Plan {
  const row = SYSCALLS[rowIndex(arch, sysno)];
  const call = syscallName(arch, sysno);
  const form = Object.hasOwn(FORMS, call) ? FORMS[call] : undefined;
  const verb = form !== undefined && rules.has("synonyms") ? form.verb : call;
  const steps = row === undefined ? [] : stepsOf(row, call, form, rules);
  const data = row === undefined ? undefined : dataOf(row);
  return {
    number,
    call,
    verb: verbs.of(verb),
    verbHash: textHash(verb),
    aside: rules.setsAside(call),
    chance: Object.hasOwn(CHANCES, call) ? (CHANCES[call] ?? Chance.None) : Chance.None,
    makes: makesOf(call),
    quick: QUICK.has(call),
    steps,
    told: steps.some(({ op, out }) => op === Op.Address && out),
    run: runOf(form, rules),
    result: row !== undefined && saysSomething(row.ret, call, rules),
    data,
    digested: LAYOUTS.includes(data?.shape ?? "") && !steps.some(({ op }) => op === Op.Decode),
  };
}

function makesOf(call: string): Plan["makes"] {
  if (call === "open" || call === "openat") return "open";
  if (call === "bind") return "socket";
  if (ID_MAKERS.has(call)) return "id";
  if (MAKERS.has(call)) return "file";
  return OBJECT_MAKERS.has(call) ? "object" : undefined;
}

/** Calls that make something that was not there before. */
const MAKERS: ReadonlySet<string> = new Set([
  ...["mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat"],
]);

/** Calls that make an object without a path. */
const OBJECT_MAKERS: ReadonlySet<string> = new Set([
  ...["pipe", "pipe2", "socket", "socketpair", "accept", "accept4", "eventfd", "eventfd2"],
  ...["inotify_init", "inotify_init1", "memfd_create", "userfaultfd", "fanotify_init"],
]);

/** Calls that give a number by which all processes know what it stands for. */
const ID_MAKERS: ReadonlySet<string> = new Set(["shmget", "semget", "msgget"]);

const QUICK: ReadonlySet<string> = new Set([
  ...["getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "clock_gettime"],
  ...["lseek", "brk", "mprotect", "munmap", "rt_sigaction", "rt_sigprocmask", "gettimeofday"],
  ...["fcntl", "sigaltstack", "set_robust_list", "prlimit64", "uname", "madvise", "arch_prctl"],
]);

function runOf(form: Form | undefined, rules: RuleSet): Form["run"] {
  if (form?.run === "list") return "list";
  return rules.has("chunks") ? form?.run : undefined;
}

/** Results that are numbers of the kernel's choice, or say what the outputs say. */
function saysSomething(ret: Ret, call: string, rules: RuleSet): boolean {
  if (call === "getcwd" || call === "readlink" || call === "readlinkat") return false;
  if (ID_MAKERS.has(call)) return !rules.has("inodes");
  if (ret.r === "pid") return !rules.has("pids");
  if (ret.r === "addr") return !rules.has("addresses");
  return ret.r !== "fd" && ret.r !== "never";
}

function dataOf(row: SyscallRow): Plan["data"] {
  const slot = row.args.findIndex(({ ty }) => ["bytes", "iovec", "msghdr"].includes(ty.t));
  const arg = row.args[slot];
  if (arg === undefined) {
    const list = row.args.findIndex(({ ty }) => ty.t === "irregular" && ty.name === "dirents");
    return list < 0 ? undefined : { slot: list, out: true, shape: "dirents" };
  }
  return { slot, out: arg.dir === "out", shape: arg.ty.t };
}

function stepsOf(
  row: SyscallRow,
  call: string,
  form: Form | undefined,
  rules: RuleSet,
): readonly Step[] {
  const words = form === undefined ? tokensOf(row, call, rules) : form.steps.split(" ");
  return words
    .filter((word) => word !== "")
    .map((word): Step => {
      const [op, out] = operation(word, row, call, rules);
      const k = Number(word.slice(1));
      const arg = row.args[k];
      const base = op === Op.Path && row.args[k - 1]?.ty.t === "dirfd" ? k - 1 : -1;
      const struct = arg?.ty.t === "struct" ? arg.ty.name : "";
      const wanted = op === Op.Status ? STATUS : undefined;
      const isStruct = op === Op.Struct || op === Op.Status;
      const parts = isStruct ? partsOf(layout(struct), struct, rules, wanted) : [];
      const inode = op === Op.Status ? inodeOf(layout(struct)) : -1;
      return { op, k, out, base, parts, inode };
    });
}

function operation(
  word: string,
  row: SyscallRow,
  call: string,
  rules: RuleSet,
): readonly [op: number, out: boolean] {
  const [op, out] = LETTERS[word[0] ?? ""] ?? [Op.Constant, false];
  const isWhole = !row.args.some(({ name }) => rules.ignoresArgument(call, name));
  // Without an argument that a project leaves out, decoding says what is left.
  return op === Op.Control && !isWhole ? [Op.Decode, out] : [op, out];
}

/** Numbers of syscalls that `movesOf` looks at, of each architecture. */
const MOST_CALLS = 1024;
/** By how the argument is laid out: see `ReadOptions.moves`. */
const LAYOUTS = ["bytes", "iovec", "msghdr"];
const NOWHERE = 255;

function movesOf(planOfCall: (arch: number, sysno: number) => Plan): Uint8Array {
  const moves = new Uint8Array(2 * MOST_CALLS * 3).fill(NOWHERE);
  for (const arch of [0, 1]) {
    for (let sysno = 0; sysno < MOST_CALLS; sysno++) {
      const row = SYSCALLS[rowIndex(arch, sysno)];
      if (row === undefined || dataOf(row) === undefined) continue;
      const { data, digested } = planOfCall(arch, sysno);
      if (data === undefined || !digested) continue;
      const layout = LAYOUTS.indexOf(data.shape);
      moves.set([data.slot, data.out ? 1 : 0, layout], 3 * (MOST_CALLS * arch + sysno));
    }
  }
  return moves;
}

/** What the status of a file is, under all names that it has. */
const STATUS = [
  ...["st_mode", "st_uid", "st_gid", "st_size"],
  ...["stx_mode", "stx_uid", "stx_gid", "stx_size"],
];

function inodeOf(row: StructRow | undefined): number {
  return row?.fields.find(({ name }) => name === "st_ino" || name === "stx_ino")?.offset ?? -1;
}

/** Members without those that a rule takes out, and without addresses. */
function partsOf(
  row: StructRow | undefined,
  name: string,
  rules: RuleSet,
  wanted: readonly string[] | undefined,
): number[] {
  const found = (row?.fields ?? []).filter(
    (member) =>
      (wanted === undefined || wanted.includes(member.name)) &&
      member.ty.t !== "addr" &&
      (isScalar(member.ty) || ["chars", "blob"].includes(member.ty.t)) &&
      !rules.ignoresMember(name, member.name),
  );
  if (wanted !== undefined) {
    found.sort((a, b) => wanted.indexOf(a.name) - wanted.indexOf(b.name));
  }
  return found.flatMap((member) => [member.offset, member.size * member.count]);
}

/** How many bytes a call asks for: says the data itself, or how it was cut. */
export const LENGTHS: ReadonlySet<string> = new Set(["count", "len", "size", "bufsiz", "vlen"]);

/** The steps of a call that has no form of its own. */
function tokensOf(row: SyscallRow, call: string, rules: RuleSet): string[] {
  const bases = new Set(
    row.args.flatMap(({ ty }, k) =>
      ty.t === "path" && row.args[k - 1]?.ty.t === "dirfd" ? [k - 1] : [],
    ),
  );
  const moves = dataOf(row) !== undefined;
  const tokens: string[] = [];
  row.args.forEach((arg, k) => {
    if (bases.has(k) || rules.ignoresArgument(call, arg.name)) return;
    if (moves && LENGTHS.has(arg.name)) return;
    tokens.push(...tokenOf(arg, k, rules));
  });
  if (!tokens.includes("v")) return tokens;
  // Decoding the call sees all but what is open on its descriptors.
  return [...tokens.filter((token) => /^[pfk]/.test(token)), "v"];
}

function tokenOf(arg: ArgRow, k: number, rules: RuleSet): string[] {
  const { ty, dir } = arg;
  const both = (input: string, output: string): string[] => [
    ...(dir === "out" ? [] : [`${input}${k}`]),
    ...(dir === "in" ? [] : [`${output}${k}`]),
  ];
  switch (ty.t) {
    case "fd":
    case "dirfd":
      return [`f${k}`];
    case "pid":
      return [`k${k}`];
    case "path":
      return dir === "in" ? [`p${k}`] : [`o${k}`];
    case "str":
      return [`z${k}`];
    case "bytes":
    case "iovec":
    case "msghdr":
      return ["d"];
    case "sockaddr":
      return both("x", "y");
    case "sigset":
      return both("i", "o");
    case "struct":
      return layout(ty.name) === undefined ? ["v"] : both("s", "u");
    case "ptr":
    case "array":
      return isNumber(ty.of.t) ? both("i", "o") : ["v"];
    case "addr":
      return rules.has("addresses") ? [] : [`q${k}`];
    case "enum":
      return [ty.set === "clock_id" ? `l${k}` : numberOf(ty, k)];
    case "strarray":
    case "fdset":
    case "mmsghdr":
    case "time":
      return [];
    case "irregular":
      return ["v"];
    default:
      return [numberOf(ty, k)];
  }
}

function numberOf(ty: ArgRow["ty"], k: number): string {
  return registerSize(ty, 8) === 4 ? `w${k}` : `q${k}`;
}

function isNumber(kind: string): boolean {
  return ["int", "uint", "long", "ulong", "size", "off", "uid", "gid", "mode"].includes(kind);
}
