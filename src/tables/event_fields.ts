/** The columns that the tables of events share, named as the fields of filters are, with `_` for a dot. */

import { isUtf8 } from "node:buffer";
import { rowIndex, syscallName } from "../decode/context.js";
import { decodeExit } from "../decode/event.js";
import { ERRNO_NAMES, NAMES } from "../decode/names.generated.js";
import { signalName } from "../decode/scalar.js";
import {
  type EventBatch,
  EventFlag,
  EventKind,
  KIND_NAMES,
  seqOf,
  type ThreadInfo,
} from "../trace/batch.js";
import { processName } from "../trace/process.js";
import {
  boolColumn,
  codeColumn,
  type EventColumn,
  type EventContext,
  intColumn,
  keyedColumn,
  ownColumn,
  textColumn,
  wordColumn,
} from "./event_columns.js";

const NO_RESULT = EventFlag.NoReturn | EventFlag.NoResult;

/** What paths and peers are read from. */
const PATH_GROUPS = ["contents", "refs"] as const;

function isCall(batch: EventBatch, i: number): boolean {
  return batch.kind[i] === EventKind.Call;
}

function ofThread(get: (thread: ThreadInfo) => number) {
  return ({ trace }: EventContext) => {
    const { threads } = trace;
    return (batch: EventBatch, i: number) => {
      const thread = threads[batch.thread[i] ?? -1];
      return thread === undefined ? Number.NaN : get(thread);
    };
  };
}

function nameOfThread(text: (thread: ThreadInfo) => string) {
  return ({ trace }: EventContext) => {
    const { threads } = trace;
    return {
      key: (batch: EventBatch, i: number) => {
        const index = batch.thread[i] as number;
        return index < threads.length ? index : -1;
      },
      text: (index: number) => {
        const thread = threads[index];
        return thread === undefined ? undefined : text(thread);
      },
    };
  };
}

const seq = intColumn({ name: "seq", doc: "event number" }, () => (batch, i) => seqOf(batch, i));

const kind = keyedColumn({ name: "kind", doc: `kind of event: ${KIND_NAMES.join(", ")}` }, () => ({
  key: (batch, i) => batch.kind[i] as number,
  text: (code) => KIND_NAMES[code] ?? String(code),
}));

const time = ownColumn(
  {
    name: "time",
    unit: "ns since start",
    doc: "entry of the call, from the start of the recording",
  },
  (batch) => batch.start,
);

const callDuration = ownColumn(
  { name: "dur", unit: "ns", doc: "time from entry to exit of the call" },
  (batch) => batch.duration,
);

const duration = intColumn(
  { name: "dur", unit: "ns", doc: "time from entry to exit of a call", nullable: true },
  () => (batch, i) => (isCall(batch, i) ? (batch.duration[i] as number) : Number.NaN),
);

const proc = keyedColumn(
  { name: "proc", doc: "process of the trace: p3", nullable: true },
  nameOfThread(({ process }) => processName(process)),
);

const thread = keyedColumn(
  { name: "thread", doc: "thread of the trace: p3.2", nullable: true },
  nameOfThread(({ process, ordinal }) => `${processName(process)}.${ordinal}`),
);

const pid = intColumn(
  { name: "pid", doc: "process id as the kernel gave it", nullable: true },
  ofThread((info) => info.pid),
);

const tid = intColumn(
  { name: "tid", doc: "thread id as the kernel gave it", nullable: true },
  ofThread((info) => info.tid),
);

/** Syscalls of the table by their rows; after those, the unknown ones by number and architecture. */
const name = keyedColumn({ name: "name", doc: "name of the syscall", nullable: true }, () => {
  const unknown: string[] = [];
  const numbers = new Map<string, number>();
  const keyOf = (text: string): number => {
    let number = numbers.get(text);
    if (number === undefined) {
      number = unknown.push(text) - 1;
      numbers.set(text, number);
    }
    return NAMES.length + number;
  };
  return {
    key: (batch, i) => {
      if (!isCall(batch, i)) return -1;
      const arch = batch.arch[i] as number;
      const sysno = batch.code[i] as number;
      const row = rowIndex(arch, sysno);
      return row >= 0 ? row : keyOf(syscallName(arch, sysno));
    },
    text: (key) => NAMES[key] ?? unknown[key - NAMES.length],
  };
});

/** As filters have it: -1 where the call failed, nothing where it did not return. */
const ret = wordColumn(
  {
    name: "ret",
    doc: "result of the call, -1 when it failed",
    nullable: true,
    groups: ["results"],
  },
  (batch, i, pairs, k) => {
    const flags = batch.flags[i] as number;
    if (batch.kind[i] !== EventKind.Call || (flags & NO_RESULT) !== 0) return false;
    const low = batch.ret[2 * i] as number;
    const failed = (flags & EventFlag.Error) !== 0;
    pairs[2 * k] = failed ? -1 : low;
    pairs[2 * k + 1] = failed
      ? -1
      : batch.arch[i] === 1
        ? low >> 31
        : (batch.ret[2 * i + 1] as number);
    return true;
  },
);

/** The number of the error, or -1 where the call did not fail. */
function errnoOf(batch: EventBatch, i: number): number {
  if (!isCall(batch, i) || ((batch.flags[i] as number) & EventFlag.Error) === 0) return -1;
  return -(batch.ret[2 * i] as number);
}

const err = keyedColumn(
  { name: "err", doc: "name of the error", nullable: true, groups: ["results"] },
  () => ({
    key: (batch, i) => {
      const errno = errnoOf(batch, i);
      return errno < 4096 ? errno : -1;
    },
    text: (errno) => ERRNO_NAMES[errno] || String(errno),
  }),
);

const errno = intColumn(
  { name: "errno", doc: "number of the error", nullable: true, groups: ["results"] },
  () => (batch, i) => {
    const number = errnoOf(batch, i);
    return number < 0 ? Number.NaN : number;
  },
);

function pathColumn(name_: string, n: number, doc: string): EventColumn {
  return textColumn(
    { name: name_, doc, nullable: true, groups: ["contents"] },
    ({ facts }) =>
      (batch, i) =>
        n < facts.pathCount(batch, i) ? facts.path(batch, i, n) : undefined,
  );
}

function resolvedColumn(name_: string, n: number, doc: string): EventColumn {
  return textColumn(
    { name: name_, doc, nullable: true, groups: PATH_GROUPS },
    ({ facts }) =>
      (batch, i) =>
        n < facts.pathCount(batch, i) ? facts.resolvedPath(batch, i, n) : undefined,
  );
}

/** Paths are bytes; as text, what is not UTF-8 in them is replaced. */
function pathBytesColumn(name_: string, n: number, of: string): EventColumn {
  const doc = `the bytes of ${of} where they are not UTF-8`;
  return codeColumn(
    { name: name_, doc, nullable: true, groups: ["contents"] },
    "bytes",
    ({ facts }, dictionary) =>
      (batch, i) => {
        const bytes = n < facts.pathCount(batch, i) ? facts.pathBytes(batch, i, n) : undefined;
        return bytes === undefined || isUtf8(bytes) ? -1 : dictionary.code(bytes);
      },
  );
}

const fd = intColumn(
  {
    name: "fd",
    doc: "descriptor that the call works on, or returned",
    nullable: true,
    groups: ["results", "args", "refs"],
  },
  ({ facts }) =>
    (batch, i) => {
      if (!isCall(batch, i)) return Number.NaN;
      return facts.fds(batch, i)[0] ?? Number.NaN;
    },
);

/** Index of the first object that the event refers to, without the working directory; -1: none. */
function objectOf({ facts, trace }: EventContext) {
  return (batch: EventBatch, i: number): number => {
    if (!isCall(batch, i)) return -1;
    const index = facts.objects(batch, i)[0] ?? -1;
    return index < trace.objects.length ? index : -1;
  };
}

const fdPath = keyedColumn(
  { name: "fd_path", doc: "what the descriptor is open on", nullable: true, groups: ["refs"] },
  (context) => ({ key: objectOf(context), text: (index) => context.trace.objectPath(index) }),
);

const fdKind = keyedColumn(
  {
    name: "fd_kind",
    doc: "kind of what the descriptor is open on: file, dir, pipe, socket, ...",
    nullable: true,
    groups: ["refs"],
  },
  (context) => ({ key: objectOf(context), text: (index) => context.trace.objects[index]?.kind }),
);

const fdId = intColumn(
  {
    name: "fd_id",
    doc: "open file description behind the descriptor: the id of table fd",
    nullable: true,
    groups: ["refs"],
  },
  (context) => {
    const object = objectOf(context);
    return (batch, i) => {
      const index = object(batch, i);
      return index < 0 ? Number.NaN : index;
    };
  },
);

const bytes = intColumn(
  {
    name: "bytes",
    unit: "bytes",
    doc: "bytes that the call transferred",
    nullable: true,
    groups: ["results"],
  },
  ({ facts }) =>
    (batch, i) =>
      facts.bytes(batch, i) ?? Number.NaN,
);

const peer = textColumn(
  {
    name: "peer",
    doc: "socket address given to or returned by the call, or of the other end",
    nullable: true,
    groups: PATH_GROUPS,
  },
  ({ facts }) =>
    (batch, i) =>
      facts.peer(batch, i),
);

const signal = keyedColumn(
  { name: "signal", doc: "signal that was delivered", nullable: true },
  () => ({
    key: (batch, i) => {
      const own = batch.kind[i];
      const number = batch.code[i] as number;
      const is = own === EventKind.Signal || own === EventKind.Stop;
      return is && number >= 0 && number < 4096 ? number : -1;
    },
    text: (number) => signalName(number) ?? String(number),
  }),
);

const exitCode = intColumn(
  { name: "exit_code", doc: "exit code", nullable: true },
  () => (batch, i) => {
    if (batch.kind[i] !== EventKind.Exit) return Number.NaN;
    const exit = decodeExit(batch, i);
    return exit.signal === undefined ? exit.code : Number.NaN;
  },
);

const exitSignal = textColumn(
  { name: "exit_signal", doc: "signal that ended the process", nullable: true },
  () => (batch, i) => (batch.kind[i] === EventKind.Exit ? decodeExit(batch, i).signal : undefined),
);

const partial = boolColumn(
  { name: "partial", doc: "some memory of the event could not be read or was left out" },
  () => (batch, i) => ((batch.flags[i] as number) & EventFlag.Partial) !== 0,
);

const restarted = boolColumn(
  { name: "restarted", doc: "the call was interrupted and restarted by the kernel" },
  () => (batch, i) => ((batch.flags[i] as number) & EventFlag.Restarted) !== 0,
);

/** All of them by their names in this program; tables pick. */
export const eventFields = {
  seq,
  kind,
  time,
  duration,
  callDuration,
  proc,
  thread,
  pid,
  tid,
  name,
  ret,
  err,
  errno,
  path: pathColumn("path", 0, "path as the program gave it; executable or mapped file"),
  pathResolved: resolvedColumn(
    "path_resolved",
    0,
    "path after working directory, links and dots are resolved",
  ),
  pathBytes: pathBytesColumn("path_bytes", 0, "path"),
  path2: pathColumn("path2", 1, "second path of the call, as in rename"),
  path2Resolved: resolvedColumn("path2_resolved", 1, "second path, resolved"),
  path2Bytes: pathBytesColumn("path2_bytes", 1, "path2"),
  fd,
  fdPath,
  fdKind,
  fdId,
  bytes,
  peer,
  signal,
  exitCode,
  exitSignal,
  partial,
  restarted,
} as const satisfies Record<string, EventColumn>;
