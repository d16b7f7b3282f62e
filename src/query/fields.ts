/**
 * The fields of an event, as data: what `trace fields` prints and what the filter language checks
 * names and values against. How a field is read from a trace is not known here; that is the
 * `FieldResolver` of filter/compile.ts.
 */

import { KIND_NAMES } from "../trace/batch.js";

/**
 * - `string`: text, compared byte for byte
 * - `number`: an integer; sizes (`4k`), hex and octal are ways of writing one
 * - `duration`, `time`: nanoseconds, written with a unit; `time` counts from the start of the recording
 * - `bool`: true or false; its name alone is a term
 * - `set`: several texts; an operator holds when it holds for one of them
 * - `any`: a number or a text, whichever the value is
 * - `bytes`: raw bytes
 */
export type FieldType =
  | "string"
  | "number"
  | "duration"
  | "bool"
  | "time"
  | "set"
  | "any"
  | "bytes";

/** Rules beyond the type: how the values that `=` and `in` take are checked and spelled. */
export type FieldShape =
  | "choice"
  | "class"
  | "errno"
  | "event"
  | "process"
  | "signal"
  | "syscall"
  | "thread";

export interface FieldDef {
  /** A name that ends in `.*` stands for a family: any word may take the place of the star. */
  readonly name: string;
  readonly type: FieldType;
  /** One line for people. */
  readonly doc: string;
  /** A whole filter that uses the field. */
  readonly example: string;
  readonly shape?: FieldShape;
  /** All values that there are, when the shape is `choice`. */
  readonly choices?: readonly string[];
  /** Other names that are understood; a parsed filter holds `name`. */
  readonly aliases?: readonly string[];
}

export const FIELDS: readonly FieldDef[] = [
  {
    name: "seq",
    type: "number",
    shape: "event",
    doc: "event number",
    example: "seq >= 1200",
  },
  {
    name: "kind",
    type: "string",
    shape: "choice",
    choices: KIND_NAMES,
    doc: `kind of event: ${KIND_NAMES.slice(0, -1).join(", ")} or ${KIND_NAMES.at(-1)}`,
    example: "kind in (exec, exit)",
  },
  {
    name: "name",
    type: "string",
    shape: "syscall",
    aliases: ["syscall"],
    doc: "name of the syscall",
    example: "name in (open, openat)",
  },
  {
    name: "sysno",
    type: "number",
    doc: "number of the syscall on its architecture",
    example: "sysno = 257",
  },
  {
    name: "arch",
    type: "string",
    shape: "choice",
    choices: ["x86_64", "i386", "x32"],
    doc: "calling convention of the syscall: x86_64, i386 or x32",
    example: "arch = i386",
  },
  {
    name: "class",
    type: "set",
    shape: "class",
    doc: "strace classes of the syscall",
    example: "class = file",
  },
  {
    name: "status",
    type: "string",
    shape: "choice",
    choices: ["successful", "failed", "unfinished", "unavailable", "detached"],
    doc: "how the call ended, in strace's words",
    example: "status = unfinished",
  },
  {
    name: "time",
    type: "time",
    doc: "entry of the call, from the start of the recording",
    example: "time >= 1.5s",
  },
  {
    name: "dur",
    type: "duration",
    aliases: ["duration"],
    doc: "time from entry to exit of the call",
    example: "dur > 10ms",
  },
  { name: "pid", type: "number", doc: "process id as the kernel gave it", example: "pid = 4711" },
  { name: "tid", type: "number", doc: "thread id as the kernel gave it", example: "tid = 4712" },
  {
    name: "proc",
    type: "string",
    shape: "process",
    doc: "process of the trace; the term `p3` is the same as `proc = p3`",
    example: "proc in (p1, p3)",
  },
  {
    name: "thread",
    type: "string",
    shape: "thread",
    doc: "thread of the trace; the term `p3.2` is the same as `thread = p3.2`",
    example: "thread = p3.2",
  },
  {
    name: "parent",
    type: "string",
    shape: "process",
    doc: "process that started this process",
    example: "parent = p1",
  },
  {
    name: "proc.exe",
    type: "string",
    doc: "executable of the process at that moment",
    example: "proc.exe = /usr/bin/cc1",
  },
  {
    name: "proc.argv",
    type: "string",
    doc: "arguments of the process, joined by spaces",
    example: 'proc.argv contains "-O2"',
  },
  { name: "proc.comm", type: "string", doc: "name of the thread", example: "proc.comm = cc1" },
  {
    name: "proc.cwd",
    type: "string",
    doc: "working directory of the process at that moment",
    example: "proc.cwd startswith /tmp",
  },
  { name: "ret", type: "number", doc: "result of the call", example: "ret >= 0" },
  {
    name: "err",
    type: "string",
    shape: "errno",
    aliases: ["errno"],
    doc: "name of the error; missing when the call did not fail",
    example: "err = ENOENT",
  },
  { name: "ok", type: "bool", doc: "the call returned and did not fail", example: "%file and ok" },
  { name: "failed", type: "bool", doc: "the call failed", example: "%file and failed" },
  {
    name: "arg.*",
    type: "any",
    doc: "argument of the call, by position from 0 or by name",
    example: "arg.flags contains O_CLOEXEC",
  },
  {
    name: "path",
    type: "string",
    doc: "path as the program gave it",
    example: "path glob /etc/*.conf",
  },
  {
    name: "path.resolved",
    type: "string",
    doc: "path after working directory, links and dots are resolved",
    example: "path.resolved startswith /usr/lib",
  },
  {
    name: "path.bytes",
    type: "bytes",
    doc: "bytes of the path (the first, where there are two)",
    example: 'path.bytes contains "\\xff"',
  },
  { name: "fd", type: "number", doc: "file descriptor that the call works on", example: "fd = 3" },
  {
    name: "fd.path",
    type: "string",
    doc: "what the descriptor is open on",
    example: "fd.path startswith /etc",
  },
  {
    name: "fd.kind",
    type: "string",
    doc: "kind of what the descriptor is open on: file, dir, pipe, socket, ...",
    example: "fd.kind = socket",
  },
  {
    name: "fd.id",
    type: "number",
    doc: "open file description behind the descriptor, as table fd numbers them",
    example: "fd.id = 12",
  },
  {
    name: "bytes",
    type: "number",
    doc: "bytes that the call transferred",
    example: "bytes >= 64k",
  },
  {
    name: "peer",
    type: "string",
    aliases: ["addr"],
    doc: "socket address given to or returned by the call, or of the other end",
    example: 'peer contains ":443"',
  },
  {
    name: "data",
    type: "bytes",
    doc: "bytes that the call read or wrote",
    example: 'data contains "HTTP/1.1"',
  },
  {
    name: "signal",
    type: "string",
    shape: "signal",
    doc: "signal that was delivered",
    example: "signal = SIGCHLD",
  },
  { name: "exit.code", type: "number", doc: "exit code", example: "exit.code != 0" },
  {
    name: "exit.signal",
    type: "string",
    shape: "signal",
    doc: "signal that ended the process",
    example: "exit.signal = SIGSEGV",
  },
  {
    name: "ip",
    type: "number",
    doc: "instruction pointer of the call",
    example: "ip = 0x7f0012345678",
  },
  {
    name: "partial",
    type: "bool",
    doc: "some memory of the event could not be read or was left out",
    example: "partial",
  },
  {
    name: "restarted",
    type: "bool",
    doc: "the call was interrupted and restarted by the kernel",
    example: "restarted and dur > 1s",
  },
];

const byName = new Map<string, FieldDef>();
for (const field of FIELDS) {
  for (const name of [field.name, ...(field.aliases ?? [])]) byName.set(name, field);
}

/** All names and aliases of fields; families with their star. */
export const FIELD_NAMES: readonly string[] = [...byName.keys()];

export interface FoundField {
  readonly def: FieldDef;
  /** The name that a filter holds: of a family the member, of an alias the field's own name. */
  readonly name: string;
}

/** The field of that name, alias, or member of a family. */
export function findField(word: string): FoundField | undefined {
  const def = byName.get(word);
  if (def !== undefined) return def.name.endsWith(".*") ? undefined : { def, name: def.name };
  const member = /^([a-z]+)\.(?:\d|[a-z_][a-z0-9_]{0,63})$/.exec(word);
  const family = member === null ? undefined : byName.get(`${member[1]}.*`);
  return family === undefined ? columnField(word) : { def: family, name: word };
}

/** Columns that a field has another name for. */
const columnNames: Readonly<Record<string, string>> = {
  flags: "arg.flags",
  path2: "path",
  path2_resolved: "path.resolved",
  path2_bytes: "path.bytes",
};

/** The field behind the name of a column of table event or syscall, which has `_` where the field has a dot. */
function columnField(word: string): FoundField | undefined {
  if (!/^[a-z]+(?:\d|_[a-z]+)?$|^path2_(?:resolved|bytes)$/.test(word)) return undefined;
  const dotted = word.replace("_", ".").replace(/^arg(\d)$/, "arg.$1");
  const name = Object.hasOwn(columnNames, word) ? (columnNames[word] ?? word) : dotted;
  return name === word ? undefined : findField(name);
}

/** What a filter can ask about: the fields of events, or the columns of a table. */
export interface FieldSet {
  /** For hints. */
  readonly names: readonly string[];
  readonly find: (word: string) => FoundField | undefined;
  /** Whether a filter can name syscalls and classes of them. */
  readonly calls: boolean;
  /** What one of them is called, and how to get a list of them. */
  readonly noun: string;
  readonly listedBy: string;
}

export const EVENT_FIELDS: FieldSet = {
  names: FIELD_NAMES,
  find: findField,
  calls: true,
  noun: "field",
  listedBy: "trace fields",
};
