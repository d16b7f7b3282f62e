/**
 * ioctl: the command says what the argument is. Commands that are not in the table here are shown by the name that the
 * sets `ioctl_*` have for them, or taken apart: `_IOC(_IOC_READ, 0x12, 0x34, 0x56)`.
 */

import { CaptureSide } from "../../trace/batch.js";
import { returnFd } from "../call_result.js";
import type { CallContext } from "../context.js";
import { choice, choiceName } from "../flags.js";
import { structAt } from "../struct.js";
import { FLAG_SETS } from "../tables.generated.js";
import {
  type Argument,
  apply,
  hexInt,
  int,
  type StructValue,
  struct,
  symbol,
  type Value,
} from "../value.js";
import { ifreqName, ifreqValue } from "./ifreq.js";
import { address, isLate, kindValue } from "./kinds.js";
import type { Family, ReturnDecoder, Shape } from "./registry.js";
import { uffdName, uffdValue } from "./uffd.js";

/** Name as strace writes it, and kind (kinds.ts) of the argument; `none` where there is no argument. */
const COMMANDS: ReadonlyMap<number, readonly [name: string, kind: string]> = new Map([
  // Terminals.
  [0x5401, ["TCGETS", ">s:termios"]],
  [0x5402, ["SNDCTL_TMR_START or TCSETS", "<s:termios"]],
  [0x5403, ["SNDCTL_TMR_STOP or TCSETSW", "<s:termios"]],
  [0x5404, ["SNDCTL_TMR_CONTINUE or TCSETSF", "<s:termios"]],
  [0x5405, ["TCGETA", ">s:termio"]],
  [0x5406, ["TCSETA", "<s:termio"]],
  [0x5407, ["TCSETAW", "<s:termio"]],
  [0x5408, ["TCSETAF", "<s:termio"]],
  [0x5409, ["TCSBRK", "int"]],
  [0x540a, ["TCXONC", "c:tcflow_action"]],
  [0x540b, ["TCFLSH", "c:tcflush_queue"]],
  [0x540c, ["TIOCEXCL", "none"]],
  [0x540d, ["TIOCNXCL", "none"]],
  [0x540e, ["TIOCSCTTY", "int"]],
  [0x540f, ["TIOCGPGRP", ">int"]],
  [0x5410, ["TIOCSPGRP", "<int"]],
  [0x5411, ["TIOCOUTQ", ">int"]],
  [0x5412, ["TIOCSTI", "<char"]],
  [0x5413, ["TIOCGWINSZ", ">s:winsize"]],
  [0x5414, ["TIOCSWINSZ", "<s:winsize"]],
  [0x5415, ["TIOCMGET", ">f:tty_modem"]],
  [0x5416, ["TIOCMBIS", "<f:tty_modem"]],
  [0x5417, ["TIOCMBIC", "<f:tty_modem"]],
  [0x5418, ["TIOCMSET", "<f:tty_modem"]],
  [0x5419, ["TIOCGSOFTCAR", ">int"]],
  [0x541a, ["TIOCSSOFTCAR", "<int"]],
  [0x541b, ["FIONREAD", ">int"]],
  [0x541d, ["TIOCCONS", "none"]],
  [0x5420, ["TIOCPKT", "<int"]],
  [0x5421, ["FIONBIO", "<int"]],
  [0x5422, ["TIOCNOTTY", "none"]],
  [0x5423, ["TIOCSETD", "<int"]],
  [0x5424, ["TIOCGETD", ">int"]],
  [0x5425, ["TCSBRKP", "int"]],
  [0x5427, ["TIOCSBRK", "none"]],
  [0x5428, ["TIOCCBRK", "none"]],
  [0x5429, ["TIOCGSID", ">int"]],
  [0x802c542a, ["TCGETS2", ">s:termios2"]],
  [0x402c542b, ["TCSETS2", "<s:termios2"]],
  [0x402c542c, ["TCSETSW2", "<s:termios2"]],
  [0x402c542d, ["TCSETSF2", "<s:termios2"]],
  [0x80045430, ["TIOCGPTN", ">int"]],
  [0x40045431, ["TIOCSPTLCK", "<int"]],
  [0x80045432, ["TIOCGDEV", ">hex"]],
  [0x40045436, ["TIOCSIG", "signal"]],
  [0x80045438, ["TIOCGPKT", ">int"]],
  [0x80045439, ["TIOCGPTLCK", ">int"]],
  [0x80045440, ["TIOCGEXCL", ">int"]],
  [0x5441, ["TIOCGPTPEER", "hex"]],
  // Every file.
  [0x5450, ["FIONCLEX", "none"]],
  [0x5451, ["FIOCLEX", "none"]],
  [0x5452, ["FIOASYNC", "<int"]],
  [0x5460, ["FIOQSIZE", ">u64"]],
  [0x0001, ["FIBMAP", "addr"]],
  [0x0002, ["FIGETBSZ", "addr"]],
  [0x40049409, ["BTRFS_IOC_CLONE or FICLONE", "fd"]],
  [0x4020940d, ["BTRFS_IOC_CLONE_RANGE or FICLONERANGE", "<s:file_clone_range"]],
  [0xc0045877, ["FIFREEZE", "none"]],
  [0xc0045878, ["FITHAW", "none"]],
  [0xc0185879, ["FITRIM", "=s:fstrim_range"]],
  [0xc020660b, ["FS_IOC_FIEMAP", "addr"]],
  [0x80086601, ["FS_IOC_GETFLAGS", ">f:inode_flags"]],
  [0x40086602, ["FS_IOC_SETFLAGS", "<f:inode_flags"]],
  [0x80046601, ["FS_IOC32_GETFLAGS", ">f:inode_flags"]],
  [0x40046602, ["FS_IOC32_SETFLAGS", "<f:inode_flags"]],
  [0x801c581f, ["FS_IOC_FSGETXATTR", ">s:fsxattr"]],
  [0x401c5820, ["FS_IOC_FSSETXATTR", "<s:fsxattr"]],
  // Block devices.
  [0x125d, ["BLKROSET", "<int"]],
  [0x125e, ["BLKROGET", ">int"]],
  [0x125f, ["BLKRRPART", "none"]],
  [0x1260, ["BLKGETSIZE", ">long"]],
  [0x1261, ["BLKFLSBUF", "none"]],
  [0x1262, ["BLKRASET", "size"]],
  [0x1263, ["BLKRAGET", ">long"]],
  [0x1264, ["BLKFRASET", "size"]],
  [0x1265, ["BLKFRAGET", ">long"]],
  [0x1268, ["BLKSSZGET", ">int"]],
  [0x80081270, ["BLKBSZGET", ">int"]],
  [0x40081271, ["BLKBSZSET", "<int"]],
  [0x80081272, ["BLKGETSIZE64", ">u64"]],
  [0x1277, ["BLKDISCARD", "<2u64"]],
  [0x1278, ["BLKIOMIN", ">uint"]],
  [0x1279, ["BLKIOOPT", ">uint"]],
  [0x127a, ["BLKALIGNOFF", ">int"]],
  [0x127b, ["BLKPBSZGET", ">uint"]],
  [0x127d, ["BLKSECDISCARD", "<2u64"]],
  [0x127e, ["BLKROTATIONAL", ">uint"]],
  [0x127f, ["BLKZEROOUT", "<2u64"]],
  [0x0301, ["HDIO_GETGEO", ">s:hd_geometry"]],
  [0x4c00, ["LOOP_SET_FD", "fd"]],
  [0x4c01, ["LOOP_CLR_FD", "none"]],
  [0x4c04, ["LOOP_SET_STATUS64", "<s:loop_info64"]],
  [0x4c05, ["LOOP_GET_STATUS64", ">s:loop_info64"]],
  [0x4c0a, ["LOOP_CONFIGURE", "<s:loop_config"]],
  [0x4c80, ["LOOP_CTL_ADD", "int"]],
  [0x4c81, ["LOOP_CTL_REMOVE", "int"]],
  [0x4c82, ["LOOP_CTL_GET_FREE", "none"]],
  // Performance counters, namespaces, random numbers.
  [0x2400, ["PERF_EVENT_IOC_ENABLE", "f:perf_event_ioc_flags"]],
  [0x2401, ["PERF_EVENT_IOC_DISABLE", "f:perf_event_ioc_flags"]],
  [0x2403, ["PERF_EVENT_IOC_RESET", "f:perf_event_ioc_flags"]],
  [0x80082407, ["PERF_EVENT_IOC_ID", ">u64"]],
  [0x80045705, ["WDIOC_KEEPALIVE", "none"]],
  [0x40044590, ["EVIOCGRAB", "int"]],
  [0x40044591, ["EVIOCREVOKE", "int"]],
  [0xb701, ["NS_GET_USERNS", "none"]],
  [0xb702, ["NS_GET_PARENT", "none"]],
  [0xb703, ["NS_GET_NSTYPE", "none"]],
  [0xb704, ["NS_GET_OWNER_UID", ">int"]],
  [0x07b9, ["IOCTL_VM_SOCKETS_GET_LOCAL_CID", ">uint"]],
  [0x80045200, ["RNDGETENTCNT", ">int"]],
]);

const NO_ARGUMENT = "none";

/** Sets of command names, from the most general to the rest. */
const NAME_SETS = Object.keys(FLAG_SETS).filter(
  (name) => name.startsWith("ioctl_") && name !== "ioctl_direction",
);

const FICLONE = 0x40049409;
const FIEMAP = 0xc020660b;

/** What is asked of a map of extents, and how many there are; the extents themselves are left out. */
function fiemap(call: CallContext): Value {
  const addr = call.arg(2);
  const before = structAt("fiemap", addr, call, CaptureSide.In);
  if (before.kind !== "struct") return before;
  const members = (value: StructValue, names: readonly string[]) =>
    value.fields.filter((member) => names.includes(member.name));
  const asked = struct(
    "fiemap",
    members(before, ["fm_start", "fm_length", "fm_flags", "fm_extent_count"]),
  );
  const after = call.succeeded ? structAt("fiemap", addr, call, CaptureSide.Out) : undefined;
  if (after?.kind !== "struct") return asked;
  const told = struct("fiemap", members(after, ["fm_flags", "fm_mapped_extents"]), true);
  return { kind: "change", before: asked, after: told };
}

/** Strings of input devices: the command holds the size of the buffer. */
const EVDEV: Readonly<Record<number, string>> = {
  17670: "EVIOCGNAME",
  17671: "EVIOCGPHYS",
  17672: "EVIOCGUNIQ",
};

function evdevName(command: number): string | undefined {
  const name = command >>> 30 === 2 ? EVDEV[command & 0xffff] : undefined;
  return name === undefined ? undefined : `${name}(${(command >>> 16) & 0x3fff})`;
}

/** The name of a command; undefined when no table has it. */
export function ioctlName(command: number): string | undefined {
  const known = COMMANDS.get(command)?.[0] ?? ifreqName(command) ?? uffdName(command);
  if (known !== undefined) return known;
  const evdev = evdevName(command);
  if (evdev !== undefined) return evdev;
  for (const set of NAME_SETS) {
    const name = choiceName(set, command);
    if (name !== undefined) return name;
  }
  return undefined;
}

const DIRECTIONS = ["_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE"];

function commandValue(command: number): Value {
  const name = ioctlName(command);
  if (name !== undefined) return { kind: "choice", set: "ioctl", value: command, name };
  const parts = [
    symbol(DIRECTIONS[command >>> 30] ?? ""),
    hexInt((command >>> 8) & 0xff),
    hexInt(command & 0xff),
    hexInt((command >>> 16) & 0x3fff),
  ];
  const hex = (value: Value) => (value.kind === "int" ? `0x${value.value.toString(16)}` : "");
  const plain = `_IOC(${DIRECTIONS[command >>> 30]}, ${parts.slice(1).map(hex).join(", ")})`;
  return apply("_IOC", parts, plain);
}

function ioctl(call: CallContext): Shape {
  const rows = call.row?.args ?? [];
  const command = call.low(1);
  const args: Argument[] = [
    { name: rows[0]?.name ?? "fd", value: call.fd(call.int(0), 0) },
    { name: rows[1]?.name ?? "cmd", value: commandValue(command) },
  ];
  const name = rows[2]?.name ?? "arg";
  const special = ifreqValue(call, command) ?? uffdValue(call, command);
  if (special !== undefined) {
    args.push({ name, ...special });
    return { args };
  }
  if (command === FIEMAP) {
    args.push({ name, value: fiemap(call), at: "both" });
    return { args };
  }
  if (command === FICLONE) {
    // strace shows no path here.
    args.push({ name, value: call.fd(call.int(2), 2), text: int(call.int(2)) });
    return { args };
  }
  const kind = COMMANDS.get(command)?.[1] ?? (evdevName(command) && ">str");
  if (kind === NO_ARGUMENT) return { args };
  if (kind === undefined) {
    args.push({ name, value: unknownArgument(call) });
  } else {
    const value = kindValue(call, 2, kind);
    args.push(isLate(kind) ? { name, value, at: "exit" } : { name, value });
  }
  return { args };
}

const NS = { GET_USERNS: 0xb701, GET_PARENT: 0xb702, GET_NSTYPE: 0xb703 } as const;

const ioctlReturn: ReturnDecoder = (call) => {
  switch (call.low(1)) {
    case NS.GET_USERNS:
    case NS.GET_PARENT:
      return { value: returnFd(call) };
    case NS.GET_NSTYPE:
      return { note: choice("setns_types", call.retLow) };
    default:
      return {};
  }
};

/** The word of a command that nobody knows. */
function unknownArgument(call: CallContext): Value {
  const addr = call.arg(2);
  const captured = call.memory.has(CaptureSide.In) || call.memory.has(CaptureSide.Out);
  return captured ? address(addr) : hexInt(addr);
}

/** The line discipline and the control characters belong to the long form. */
function brief(value: StructValue): StructValue {
  const fields = value.fields.map((member) =>
    /^c_(line|cc|[io]speed)$/.test(member.name) ? { ...member, detail: true } : member,
  );
  return { ...value, fields };
}

export const ioctlFamily: Family = {
  calls: { ioctl },
  returns: { ioctl: ioctlReturn },
  views: { termios: brief, termios2: brief, termio: brief },
};
