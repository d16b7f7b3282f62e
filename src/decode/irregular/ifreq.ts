/** The ioctls of network interfaces: struct ifreq, of which the command says which member counts, and struct ifconf. */

import { CaptureSide } from "../../trace/batch.js";
import type { CallContext } from "../context.js";
import { choice, flags } from "../flags.js";
import { i32, u16, uword } from "../memory.js";
import { chars } from "../struct.js";
import {
  array,
  type FieldValue,
  field,
  type IntValue,
  int,
  NULL,
  pointer,
  struct,
  symbol,
  type Value,
} from "../value.js";
import { sockaddr } from "./sockaddr.js";

const { In, Out } = CaptureSide;

type Member = (data: Uint8Array, call: CallContext) => FieldValue;

const NAME_SIZE = 16;

const number =
  (name: string): Member =>
  (data) =>
    field(name, int(i32(data, NAME_SIZE) ?? 0));

const addressMember =
  (name: string): Member =>
  (data, call) =>
    field(name, sockaddr(data.subarray(NAME_SIZE, NAME_SIZE + 16), call));

const hardware: Member = (data) => {
  const at = NAME_SIZE + 2;
  const octets = [...data.subarray(at, at + 6)].map((byte) => byte.toString(16).padStart(2, "0"));
  return field(
    "ifr_hwaddr",
    struct("sockaddr", [
      field("sa_family", choice("arp_hardware", u16(data, NAME_SIZE) ?? 0)),
      field("sa_data", symbol(octets.join(":"))),
    ]),
  );
};

const interfaceFlags: Member = (data) =>
  field("ifr_flags", flags("iff_flags", u16(data, NAME_SIZE) ?? 0));

/** Name, whether the kernel answers in the member, and the member. */
const COMMANDS: ReadonlyMap<number, readonly [string, boolean, Member]> = new Map<
  number,
  readonly [string, boolean, Member]
>([
  [0x8913, ["SIOCGIFFLAGS", true, interfaceFlags]],
  [0x8914, ["SIOCSIFFLAGS", false, interfaceFlags]],
  [0x8915, ["SIOCGIFADDR", true, addressMember("ifr_addr")]],
  [0x8916, ["SIOCSIFADDR", false, addressMember("ifr_addr")]],
  [0x8917, ["SIOCGIFDSTADDR", true, addressMember("ifr_dstaddr")]],
  [0x8918, ["SIOCSIFDSTADDR", false, addressMember("ifr_dstaddr")]],
  [0x8919, ["SIOCGIFBRDADDR", true, addressMember("ifr_broadaddr")]],
  [0x891a, ["SIOCSIFBRDADDR", false, addressMember("ifr_broadaddr")]],
  [0x891b, ["SIOCGIFNETMASK", true, addressMember("ifr_netmask")]],
  [0x891c, ["SIOCSIFNETMASK", false, addressMember("ifr_netmask")]],
  [0x891d, ["SIOCGIFMETRIC", true, number("ifr_metric")]],
  [0x891e, ["SIOCSIFMETRIC", false, number("ifr_metric")]],
  [0x8921, ["SIOCGIFMTU", true, number("ifr_mtu")]],
  [0x8922, ["SIOCSIFMTU", false, number("ifr_mtu")]],
  [
    0x8923,
    [
      "SIOCSIFNAME",
      false,
      (data) => field("ifr_newname", chars(data.subarray(NAME_SIZE, 2 * NAME_SIZE))),
    ],
  ],
  [0x8924, ["SIOCSIFHWADDR", false, hardware]],
  [0x8927, ["SIOCGIFHWADDR", true, hardware]],
  [0x8933, ["SIOCGIFINDEX", true, number("ifr_ifindex")]],
  [0x8942, ["SIOCGIFTXQLEN", true, number("ifr_qlen")]],
  [0x8943, ["SIOCSIFTXQLEN", false, number("ifr_qlen")]],
]);

const SIOCGIFNAME = 0x8910;
const SIOCGIFCONF = 0x8912;

/** The name of a command of this file. */
export function ifreqName(command: number): string | undefined {
  if (command === SIOCGIFNAME) return "SIOCGIFNAME";
  return command === SIOCGIFCONF ? "SIOCGIFCONF" : COMMANDS.get(command)?.[0];
}

/** The third argument of such an ioctl; undefined when the command is another. */
export function ifreqValue(
  call: CallContext,
  command: number,
): { value: Value; at?: "exit" } | undefined {
  if (command === SIOCGIFCONF) return { value: ifconf(call), at: "exit" };
  if (command === SIOCGIFNAME) return { value: ifname(call), at: "exit" };
  const entry = COMMANDS.get(command);
  if (entry === undefined) return undefined;
  const [, answers, member] = entry;
  const addr = call.arg(2);
  const before = call.memory.readAll(addr, 32, In) ?? call.memory.read(addr, 40, In);
  if (before === undefined || before.length < NAME_SIZE) {
    return { value: addr === 0 ? NULL : pointer(addr) };
  }
  const fields = [field("ifr_name", chars(before.subarray(0, NAME_SIZE)))];
  if (!answers) return { value: struct("ifreq", [...fields, member(before, call)]) };
  const after = call.succeeded ? call.memory.read(addr, 32, Out) : undefined;
  if (after !== undefined) fields.push(member(after, call));
  return { value: struct("ifreq", fields), at: "exit" };
}

function ifname(call: CallContext): Value {
  const addr = call.arg(2);
  const before = call.memory.read(addr, 32, In);
  if (before === undefined) return addr === 0 ? NULL : pointer(addr);
  const fields = [field("ifr_ifindex", int(i32(before, NAME_SIZE) ?? 0))];
  const after = call.succeeded ? call.memory.read(addr, 32, Out) : undefined;
  if (after !== undefined) fields.push(field("ifr_name", chars(after.subarray(0, NAME_SIZE))));
  return struct("ifreq", fields);
}

function length(bytes: number, size: number): IntValue {
  const count = bytes / size;
  const note = bytes > 0 && Number.isInteger(count) ? ` /* ${count} * sizeof(struct ifreq) */` : "";
  return { kind: "int", value: bytes, base: "dec", text: `${bytes}${note}` };
}

/** Bounds what one ifconf lists. */
const MAX_INTERFACES = 4096;

function ifconf(call: CallContext): Value {
  const addr = call.arg(2);
  const { word } = call;
  const size = word === 8 ? 40 : 32;
  const before = call.memory.readAll(addr, 2 * word, In);
  if (before === undefined) return addr === 0 ? NULL : pointer(addr);
  const after = (call.succeeded ? call.memory.readAll(addr, 2 * word, Out) : undefined) ?? before;
  const buffer = uword(before, word, word) ?? 0;
  const had = length(i32(before, 0) ?? 0, size);
  const got = length(i32(after, 0) ?? 0, size);
  if (buffer === 0) return struct("ifconf", [field("ifc_len", got), field("ifc_buf", NULL)]);
  const changed: Value =
    had.value === got.value ? had : { kind: "change", before: had, after: got };
  const wanted = Math.min(Math.max(0, Number(got.value)), MAX_INTERFACES * size);
  const data = call.succeeded ? call.memory.read(buffer, wanted, Out) : undefined;
  const list = data === undefined ? pointer(buffer) : interfaces(data, size, call);
  return struct("ifconf", [field("ifc_len", changed), field("ifc_buf", list)]);
}

function interfaces(data: Uint8Array, size: number, call: CallContext): Value {
  const items: Value[] = [];
  for (let at = 0; at + size <= data.length; at += size) {
    const one = data.subarray(at, at + size);
    items.push(
      struct("ifreq", [
        field("ifr_name", chars(one.subarray(0, NAME_SIZE))),
        field("ifr_addr", sockaddr(one.subarray(NAME_SIZE, NAME_SIZE + 16), call)),
      ]),
    );
  }
  return array(items);
}
