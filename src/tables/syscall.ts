/** Table `syscall`: the calls, with their arguments as they stood in registers and what is known of them. */

import { decodeArgument } from "../decode/call.js";
import { rowIndex } from "../decode/context.js";
import { SYSCALLS } from "../decode/tables.generated.js";
import type { Value } from "../decode/value.js";
import { valueText } from "../show/notation.js";
import { EventFlag, EventKind } from "../trace/batch.js";
import {
  codeColumn,
  type EventColumn,
  eventTable,
  intColumn,
  keyedColumn,
  wordColumn,
} from "./event_columns.js";
import { eventFields as f } from "./event_fields.js";

const sysno = intColumn(
  { name: "sysno", doc: "number of the syscall on its architecture" },
  () => (batch, i) => batch.code[i] as number,
);

const X32_BIT = 0x4000_0000;
const ARCHES = ["x86_64", "i386", "x32"];

const arch = keyedColumn({ name: "arch", doc: "calling convention: x86_64, i386 or x32" }, () => ({
  key: (batch, i) => {
    if (batch.arch[i] === 1) return 1;
    const number = batch.code[i] as number;
    return number > 0 && (number & X32_BIT) !== 0 ? 2 : 0;
  },
  text: (key) => ARCHES[key],
}));

const STATUSES = ["successful", "failed", "unfinished", "unavailable"];

const status = keyedColumn(
  { name: "status", doc: "how the call ended: successful, failed, unfinished or unavailable" },
  () => ({
    key: (batch, i) => {
      const flags = batch.flags[i] as number;
      if ((flags & EventFlag.NoReturn) !== 0) return 2;
      if ((flags & EventFlag.NoResult) !== 0) return 3;
      return (flags & EventFlag.Error) === 0 ? 0 : 1;
    },
    text: (key) => STATUSES[key],
  }),
);

function argument(k: number): EventColumn {
  return wordColumn(
    {
      name: `arg${k}`,
      doc: `argument ${k} as it stood in its register; none where the call takes fewer`,
      nullable: true,
      groups: ["args"],
    },
    (batch, i, pairs, at) => {
      const row = SYSCALLS[rowIndex(batch.arch[i] as number, batch.code[i] as number)];
      if (row !== undefined && k >= row.args.length) return false;
      const place = 12 * i + 2 * k;
      const low = batch.args[place] as number;
      pairs[2 * at] = low;
      pairs[2 * at + 1] = batch.arch[i] === 1 ? 0 : (batch.args[place + 1] as number);
      return true;
    },
  );
}

const notation = { stringLimit: 4096, verbose: true, descriptors: "number" } as const;

/** Calls that have an argument of flags, by their rows. */
const FLAG_ARGUMENTS: readonly number[] = SYSCALLS.map((row) =>
  row.args.findIndex(({ name, ty }) => ty.t === "flags" && /flags$/.test(name)),
);

const flags = codeColumn(
  {
    name: "flags",
    doc: "the flags that the call was given, by name: O_RDONLY|O_CLOEXEC",
    nullable: true,
    groups: ["base", "args", "captures", "refs"],
  },
  "text",
  ({ trace }, dictionary) => {
    // Equal flags of one set are mostly one value (decode/flags.ts).
    const codes = new WeakMap<Value, number>();
    return (batch, i) => {
      const k = FLAG_ARGUMENTS[rowIndex(batch.arch[i] as number, batch.code[i] as number)] ?? -1;
      const value = k < 0 ? undefined : decodeArgument(batch, i, trace, k);
      if (value === undefined) return -1;
      let code = codes.get(value);
      if (code === undefined) {
        code = dictionary.code(valueText(value, notation));
        codes.set(value, code);
      }
      return code;
    };
  },
);

export const syscall = eventTable(
  {
    name: "syscall",
    doc: "every call, with its arguments",
    brief: [
      ...["seq", "time", "proc", "name", "ret", "err", "dur"],
      ...["path_resolved", "fd_path", "bytes"],
    ],
    columns: [
      ...[f.seq, f.time, f.callDuration, f.proc, f.thread, f.pid, f.tid, f.name, arch, sysno],
      ...[status, f.ret, f.err, f.errno],
      ...[0, 1, 2, 3, 4, 5].map(argument),
      ...[f.path, f.pathResolved, f.pathBytes, f.path2, f.path2Resolved, f.path2Bytes],
      ...[f.fd, f.fdPath, f.fdKind, f.fdId, f.bytes, f.peer, flags, f.restarted, f.partial],
    ],
  },
  [EventKind.Call],
);
