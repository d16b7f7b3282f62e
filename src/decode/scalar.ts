/** Single numbers, from registers and from memory, to values. Whatever needs more than its own bits is elsewhere. */

import { signed, unsigned } from "../trace/word.js";
import type { CallContext } from "./context.js";
import { choice, choiceName, flags } from "./flags.js";
import type { Ty } from "./tables.generated.js";
import {
  apply,
  bytes,
  type FdValue,
  hexInt,
  int,
  NULL,
  type Num,
  pointer,
  symbol,
  type Value,
} from "./value.js";

const SIGRTMIN = 32;

/** `SIGINT`, `SIGRTMIN`, `SIGRT_1`; undefined where no signal has the number. */
export function signalName(signal: number): string | undefined {
  if (signal === SIGRTMIN) return "SIGRTMIN";
  if (signal > SIGRTMIN && signal <= 64) return `SIGRT_${signal - SIGRTMIN}`;
  return signal > 0 && signal < SIGRTMIN ? choiceName("signal", signal) : undefined;
}

export function signalValue(signal: number): Value {
  const name = signalName(signal);
  return name === undefined ? int(signal) : { kind: "choice", set: "signal", value: signal, name };
}

/** `makedev(major, minor)` of a device number as user space sees it. */
export function device(low: number, high: number): Value {
  const major = ((low >>> 8) & 0xfff) | ((high & 0xfffff000) >>> 0);
  const minor = (low & 0xff) | ((low >>> 12) & 0xfff00);
  return apply(
    "makedev",
    [hexInt(major >>> 0), hexInt(minor >>> 0)],
    `${major >>> 0}:${minor >>> 0}`,
  );
}

/** `S_IFREG|0644`. */
export function fileMode(mode: number): Value {
  const type = mode & 0o170000;
  const name = type === 0 ? undefined : choiceName("file_type", type);
  if (name === undefined) return modeBits(mode);
  const extra = (
    [
      [0o4000, "S_ISUID"],
      [0o2000, "S_ISGID"],
      [0o1000, "S_ISVTX"],
    ] as const
  )
    .filter(([bit]) => (mode & bit) !== 0)
    .map(([, text]) => text);
  const rest = mode & ~0o177000;
  const text = [name, ...extra, `0${rest.toString(8).padStart(rest === 0 ? 0 : 3, "0")}`];
  return { kind: "int", value: mode, base: "oct", text: text.join("|").replace(/\|00$/, "|000") };
}

/** Octal with at least three digits: `0644`, `022`, `000`. */
export function modeBits(mode: number): Value {
  const digits = mode.toString(8);
  return { kind: "int", value: mode, base: "oct", text: `0${digits.padStart(2, "0")}` };
}

export function port(value: number): Value {
  return apply("htons", [int(value)]);
}

const LOOPBACK_INDEX = 1;

/**
 * The index of a network interface, by its name where that is known: the loopback interface has index 1 everywhere; of
 * others only the number is known.
 */
export function interfaceIndex(value: number, name?: Value): Value {
  const known = name ?? (value === LOOPBACK_INDEX ? symbol('"lo"') : undefined);
  return known === undefined ? int(value) : apply("if_nametoindex", [known], value);
}

export function ipv4Text(address: number): string {
  return [address & 255, (address >>> 8) & 255, (address >>> 16) & 255, address >>> 24].join(".");
}

/** `value` is the address as read from memory on a little-endian machine. */
export function ipv4(value: number): Value {
  const text = ipv4Text(value);
  return apply("inet_addr", [symbol(`"${text}"`)], text);
}

/** Number of bytes in which a register of that type is read. */
export function registerSize(ty: Ty, word: 4 | 8): number {
  switch (ty.t) {
    case "int":
    case "uint":
    case "fd":
    case "dirfd":
    case "pid":
    case "uid":
    case "gid":
    case "mode":
    case "filemode":
    case "signal":
    case "port":
    case "ipv4":
      return 4;
    default:
      return word;
  }
}

export function isScalar(ty: Ty): boolean {
  switch (ty.t) {
    case "chars":
    case "blob":
    case "path":
    case "str":
    case "bytes":
    case "struct":
    case "array":
    case "ptr":
    case "iovec":
    case "msghdr":
    case "mmsghdr":
    case "sockaddr":
    case "strarray":
    case "fdset":
    case "sigset":
    case "irregular":
    case "ipv6":
      return false;
    default:
      return true;
  }
}

/** Sign-extends a number of `size` bytes. */
export function signExtend(low: number, high: number, size: number): Num {
  if (size >= 8) return signed(low, high);
  const shift = 32 - 8 * size;
  return (low << shift) >> shift;
}

/** Masks and choices: a C int that was sign-extended into a register is read as that int. */
export function maskBits(low: number, high: number): Num {
  if (high === 0xffff_ffff && low >= 0x8000_0000) return low >>> 0;
  return unsigned(low, high);
}

/** A scalar of `size` bytes given as two words. `slot` is the argument in which a descriptor stands. */
export function scalar(
  ty: Ty,
  low: number,
  upper: number,
  size: number,
  call?: CallContext,
  slot?: number,
): Value {
  const high = size >= 8 ? upper : 0;
  switch (ty.t) {
    case "flags":
      return flags(ty.set, size === 8 ? maskBits(low, high) : low);
    case "enum":
      return choice(ty.set, size === 8 ? maskBits(low, high) : low);
    case "int":
    case "long":
    case "off":
    case "time":
    case "pid":
      return int(signExtend(low, high, size));
    case "uid":
    case "gid":
      return int(low === 0xffff_ffff || (size === 2 && low === 0xffff) ? -1 : low);
    case "fd":
    case "dirfd":
      return descriptor(low | 0, call, slot);
    case "hex":
      return hexInt(unsigned(low, high));
    case "addr":
      return low === 0 && high === 0 ? NULL : pointer(unsigned(low, high));
    case "mode":
      return modeBits(low & 0xffff);
    case "filemode":
      return fileMode(low & 0xffff);
    case "dev":
      return device(low, high);
    case "signal":
      return signalValue(low | 0);
    case "port":
      return port(((low & 0xff) << 8) | ((low >>> 8) & 0xff));
    case "ipv4":
      return ipv4(low);
    default:
      return int(unsigned(low, high));
  }
}

function descriptor(fd: number, call?: CallContext, slot?: number): FdValue {
  if (call !== undefined) return slot === undefined ? call.fd(fd) : call.fd(fd, slot);
  return fd === -100 ? { kind: "fd", fd, name: "AT_FDCWD" } : { kind: "fd", fd };
}

/** 16 bytes as an IPv6 address in its short form. */
export function ipv6Text(data: Uint8Array): string {
  const groups: number[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(((data[at] ?? 0) << 8) | (data[at + 1] ?? 0));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${[...data.subarray(12, 16)].join(".")}`;
  }
  let bestStart = -1;
  let bestLength = 1;
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groups[end] === 0) end++;
    if (end - start > bestLength) {
      bestStart = start;
      bestLength = end - start;
    }
  }
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (bestStart < 0) return text(groups);
  return `${text(groups.slice(0, bestStart))}::${text(groups.slice(bestStart + bestLength))}`;
}

export function ipv6(data: Uint8Array): Value {
  if (data.length < 16) return bytes(data, 16, "hex");
  const text = ipv6Text(data);
  return apply("inet_pton", [symbol("AF_INET6"), symbol(`"${text}"`)], text);
}
