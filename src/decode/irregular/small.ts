/** Small calls whose arguments depend on each other, one or two of a kind. */

import { CaptureSide } from "../../trace/batch.js";
import { address, genericArgs, narrow, stringAt } from "../argument.js";
import type { CallContext } from "../context.js";
import { choiceName, flags } from "../flags.js";
import { i32, u32 } from "../memory.js";
import { structAt } from "../struct.js";
import {
  type Argument,
  array,
  bytes,
  deref,
  type FieldValue,
  field,
  hexInt,
  int,
  struct,
  type Value,
} from "../value.js";
import type { ArgDecoder, CallDecoder, Family, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

/** The generic arguments, some of them changed. */
function edited(change: (args: Argument[], call: CallContext) => Argument[]): CallDecoder {
  return (call) => ({ args: change(genericArgs(call), call) });
}

/** The same argument, shown as another value. */
function shown(args: Argument[], k: number, text: Value): void {
  const arg = args[k];
  if (arg !== undefined) args[k] = { ...arg, text };
}

const KCMP = { FILE: 0, EPOLL_TFD: 7 } as const;

const kcmp = edited((args, call) => {
  const type = call.int(2);
  if (
    choiceName("kcmp_type", type) !== undefined &&
    type !== KCMP.FILE &&
    type !== KCMP.EPOLL_TFD
  ) {
    return args.slice(0, 3);
  }
  for (const k of type === KCMP.FILE ? [3, 4] : type === KCMP.EPOLL_TFD ? [3] : []) {
    const arg = args[k];
    if (arg !== undefined) args[k] = { name: arg.name, value: call.fd(call.int(k)) };
  }
  const slot = args[4];
  if (type === KCMP.EPOLL_TFD && slot !== undefined) {
    args[4] = { name: slot.name, value: structAt("kcmp_epoll_slot", call.arg(4), call, In) };
  }
  if (type !== KCMP.FILE && type !== KCMP.EPOLL_TFD) {
    for (const k of [3, 4]) args[k] = { name: args[k]?.name ?? "", value: hexInt(call.arg(k)) };
  }
  return args;
});

const MEMBARRIER_QUERY = 0;

function membarrier(call: CallContext): Shape {
  const args = genericArgs(call).slice(0, call.low(1) === 0 ? 2 : 3);
  if (!call.succeeded || call.low(0) !== MEMBARRIER_QUERY) return { args };
  const value = hexInt(call.retLow);
  return { args, result: { value, note: flags("membarrier_cmd", call.retLow) } };
}

const PAGE_SIZE = 4096;
const MAX_PAGES = 65_536;

/** One number per page: whether it is in memory. */
const mincore: ArgDecoder = (call, k, side) => {
  const pages = Math.ceil(call.count(1) / PAGE_SIZE);
  const data =
    call.succeeded && side === Out
      ? call.memory.read(call.arg(k), Math.min(pages, MAX_PAGES), Out)
      : undefined;
  if (data === undefined) return address(call, k);
  return array(
    [...data].map((byte) => int(byte & 1)),
    data.length < pages,
  );
};

const REBOOT_RESTART2 = 0xa1b2c3d4;

const reboot = edited((args, call) => {
  const last = args[3];
  if (call.low(2) !== REBOOT_RESTART2 || last === undefined) return args.slice(0, 3);
  args[3] = { name: last.name, value: stringAt(call, call.arg(3), In, "string") };
  return args;
});

const SWAP_PRIORITY = 0x7fff;

const swapon = edited((args, call) => {
  const bits = call.low(1);
  const upper = flags("swap_flags", (bits & ~SWAP_PRIORITY) >>> 0);
  const priority = int(bits & SWAP_PRIORITY);
  if (upper.value === 0) shown(args, 1, priority);
  else shown(args, 1, { kind: "list", sep: "|", items: [{ value: upper }, { value: priority }] });
  return args;
});

/** strace knows nothing of these words. */
const words: CallDecoder = edited((args, call) => {
  for (let k = 0; k < args.length; k++) shown(args, k, hexInt(call.arg(k)));
  return args;
});

const SYSLOG = { SIZE_UNREAD: 9, SIZE_BUFFER: 10, CONSOLE_LEVEL: 8 } as const;
const SYSLOG_WITHOUT: ReadonlySet<number> = new Set([
  0,
  1,
  5,
  6,
  7,
  SYSLOG.SIZE_UNREAD,
  SYSLOG.SIZE_BUFFER,
]);

/** A number, and its name as a remark. */
function remarked(set: string, value: number, unknown: string): Value {
  const name = choiceName(set, value) ?? unknown;
  return { kind: "int", value, base: "dec", text: `${value} /* ${name} */` };
}

const syslog = edited((args, call) => {
  const action = call.int(0);
  shown(args, 0, remarked("syslog_action", action, "SYSLOG_ACTION_???"));
  if (SYSLOG_WITHOUT.has(action)) return args.slice(0, 1);
  if (action === SYSLOG.CONSOLE_LEVEL) {
    shown(args, 2, remarked("console_loglevel", call.int(2), "LOGLEVEL_???"));
  }
  return args;
});

/** i386 passes the offset in two halves; strace shows it whole. */
function llseek(call: CallContext): Shape {
  const args = genericArgs(call);
  const [fd, , , result, whence] = args;
  if (fd === undefined || result === undefined || whence === undefined) return { args };
  const offset = (BigInt(call.low(1)) << 32n) | BigInt(call.low(2));
  const whole = int(narrow(BigInt.asIntN(64, offset)));
  return { args: [fd, { name: "offset", value: whole }, result, whence] };
}

const BITS: readonly (readonly [name: string, shift: number, width: number])[] = [
  ["seg_32bit", 0, 1],
  ["contents", 1, 2],
  ["read_exec_only", 3, 1],
  ["limit_in_pages", 4, 1],
  ["seg_not_present", 5, 1],
  ["useable", 6, 1],
];

/** A segment descriptor; its bits are members. */
function userDesc(data: Uint8Array, word: 4 | 8): Value {
  const bits = u32(data, 12);
  if (bits === undefined) return struct("user_desc", [], true);
  const fields: FieldValue[] = [
    field("entry_number", int(i32(data, 0) ?? 0)),
    field("base_addr", { kind: "int", value: u32(data, 4) ?? 0, base: "hex", text: wide(data, 4) }),
    field("limit", { kind: "int", value: u32(data, 8) ?? 0, base: "hex", text: wide(data, 8) }),
  ];
  for (const [name, shift, width] of BITS) {
    fields.push(field(name, int((bits >>> shift) & ((1 << width) - 1))));
  }
  if (word === 8) fields.push(field("lm", int((bits >>> 7) & 1)));
  return struct("user_desc", fields);
}

/** `%#08x`. */
function wide(data: Uint8Array, at: number): string {
  const value = u32(data, at) ?? 0;
  return value === 0 ? "00000000" : `0x${value.toString(16).padStart(6, "0")}`;
}

function setThreadArea(call: CallContext): Shape {
  const args = genericArgs(call);
  const first = args[0];
  const before = call.memory.readAll(call.arg(0), 16, In);
  if (first === undefined || before === undefined) return { args };
  const after = call.succeeded ? call.memory.readAll(call.arg(0), 16, Out) : undefined;
  const value = userDesc(before, call.word);
  args[0] = { name: first.name, value };
  const number = after === undefined ? undefined : i32(after, 0);
  if (number === undefined || number === i32(before, 0)) return { args };
  const items = [{ label: "entry_number", value: int(number) }];
  return { args, result: { note: { kind: "list", sep: ", ", items, equals: true } } };
}

function getThreadArea(call: CallContext): Shape {
  const args = genericArgs(call);
  const first = args[0];
  const before = call.memory.readAll(call.arg(0), 16, In);
  if (first === undefined || before === undefined) return { args };
  const after = call.succeeded ? call.memory.readAll(call.arg(0), 16, Out) : undefined;
  const entry = field("entry_number", int(i32(before, 0) ?? 0));
  const value =
    after === undefined ? struct("user_desc", [entry], true) : userDesc(after, call.word);
  args[0] = { name: first.name, value, at: "exit" };
  return { args };
}

/** Longest handle that the kernel makes. */
const MAX_HANDLE = 128;

/** A file handle: its size, and what the kernel put or found in it. */
const fileHandle: ArgDecoder = (call, k) => {
  const addr = call.arg(k);
  const before = call.memory.read(addr, 8, In);
  if (addr === 0 || before === undefined) return address(call, k);
  const size = u32(before, 0) ?? 0;
  const given = call.row?.args[k]?.dir === "in";
  const after = call.memory.read(addr, 8 + MAX_HANDLE, Out);
  if (given)
    return handleStruct(int(size), call.memory.read(addr, 8 + Math.min(size, MAX_HANDLE), In));
  const now = after === undefined ? size : (u32(after, 0) ?? size);
  const count: Value =
    now === size ? int(size) : { kind: "change", before: int(size), after: int(now) };
  if (!call.succeeded || after === undefined) {
    return struct("file_handle", [field("handle_bytes", count)]);
  }
  return handleStruct(count, after.subarray(0, 8 + Math.min(now, MAX_HANDLE)));
};

function handleStruct(count: Value, data: Uint8Array | undefined): Value {
  const fields = [field("handle_bytes", count)];
  if (data !== undefined && data.length >= 8) {
    const handle = data.subarray(8);
    fields.push(
      field("handle_type", int(i32(data, 4) ?? 0)),
      field("f_handle", handle.length === 0 ? bytes(handle) : bytes(handle, handle.length, "blob")),
    );
  }
  return struct("file_handle", fields);
}

const mountId: ArgDecoder = (call, k, side) => {
  const data = call.succeeded ? call.memory.readAll(call.arg(k), 4, side) : undefined;
  return data === undefined ? address(call, k) : deref(int(i32(data, 0) ?? 0));
};

const CAP_VERSION_1 = 0x19980330;

/** Capability sets: one or two structs, as the version in the header says. */
const capData: ArgDecoder = (call, k, side) => {
  const addr = call.arg(k);
  const header = call.memory.readAll(call.arg(0), 4, In);
  if (header === undefined) return address(call, k);
  const version = u32(header, 0);
  const size = version === CAP_VERSION_1 ? 12 : 24;
  const read = side === In || call.succeeded;
  const data = read ? call.memory.readAll(addr, size, side) : undefined;
  if (addr === 0 || data === undefined) return address(call, k);
  const set = (at: number): Value => {
    const upper = size === 24 ? (u32(data, at + 12) ?? 0) : 0;
    return capabilities(u32(data, at) ?? 0, upper);
  };
  return struct("cap_user_data", [
    field("effective", set(0)),
    field("permitted", set(4)),
    field("inheritable", set(8)),
  ]);
};

/** Capabilities as shifted ones: `1<<CAP_CHOWN|1<<CAP_KILL`. */
function capabilities(low: number, high: number): Value {
  const names: string[] = [];
  let rest = 0n;
  for (let bit = 0; bit < 64; bit++) {
    if ((((bit < 32 ? low : high) >>> (bit & 31)) & 1) === 0) continue;
    const name = choiceName("capability", bit);
    if (name === undefined) rest |= 1n << BigInt(bit);
    else names.push(`1<<${name}`);
  }
  const value = (BigInt(high) << 32n) | BigInt(low);
  return { kind: "flags", set: "capability", value: narrow(value), names, rest: narrow(rest) };
}

/** Most supplementary groups that the kernel takes (NGROUPS_MAX). */
const MAX_GROUPS = 65_536;

const HOSTNAME_LIMIT = 64;

/** A name that is too long is not looked at. */
const hostname = edited((args, call) => {
  const length = call.low(1);
  if (length > HOSTNAME_LIMIT) {
    shown(args, 0, address(call, 0));
    shown(args, 1, int(length));
  }
  return args;
});

/** The bounds are numbers of descriptors, not descriptors. */
const closeRange = edited((args, call) => {
  shown(args, 0, int(call.low(0)));
  shown(args, 1, int(call.low(1)));
  return args;
});

/** The clock's state is what the kernel answers; strace does not show what was asked of it. */
function timex(k: number): CallDecoder {
  return edited((args, call) => {
    const arg = args[k];
    if (arg === undefined) return args;
    if (call.failed) shown(args, k, address(call, k));
    else if (arg.value.kind === "change") args[k] = { ...arg, text: arg.value.after };
    return args;
  });
}

const initModule = edited((args, call) => {
  shown(args, 0, address(call, 0));
  return args;
});

export const small: Family = {
  args: {
    mincore,
    file_handle: fileHandle,
    mount_id: mountId,
    cap_data: capData,
  },
  structs: { user_desc: (data, call) => userDesc(data, call.word) },
  calls: {
    kcmp,
    membarrier,
    reboot,
    swapon,
    sysfs: words,
    create_module: words,
    get_kernel_syms: words,
    query_module: words,
    nfsservctl: words,
    getpmsg: words,
    putpmsg: words,
    ioperm: edited((args, call) => {
      shown(args, 0, hexInt(call.arg(0)));
      shown(args, 1, hexInt(call.arg(1)));
      return args;
    }),
    syslog,
    _llseek: llseek,
    set_thread_area: setThreadArea,
    get_thread_area: getThreadArea,
    sethostname: hostname,
    setdomainname: hostname,
    close_range: closeRange,
    adjtimex: timex(0),
    clock_adjtime: timex(1),
    clock_adjtime64: timex(1),
    init_module: initModule,
    lookup_dcookie: edited((args, call) => {
      if (call.word === 8) shown(args, 0, int(call.arg(0)));
      return args;
    }),
    setgroups: edited((args, call) => {
      if (call.failed && call.low(0) > MAX_GROUPS) shown(args, 1, address(call, 1));
      return args;
    }),
    open_by_handle_at: edited((args, call) => {
      if (call.int(0) < 0) shown(args, 0, int(call.int(0)));
      return args;
    }),
  },
};
