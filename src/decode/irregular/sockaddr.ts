/** Socket addresses of all families. */

import { CaptureSide } from "../../trace/batch.js";
import { lengthOf } from "../argument.js";
import type { CallContext } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { i32, u16, u16be, u32 } from "../memory.js";
import { ipv4, ipv6Text, port } from "../scalar.js";
import { chars, layout, plainStruct } from "../struct.js";
import {
  apply,
  array,
  bytes,
  type FieldValue,
  field,
  hexInt,
  int,
  NULL,
  type Num,
  pointer,
  struct,
  symbol,
  type Value,
} from "../value.js";
import type { ArgDecoder, Family } from "./registry.js";

const AF = {
  UNSPEC: 0,
  UNIX: 1,
  INET: 2,
  X25: 9,
  INET6: 10,
  NETLINK: 16,
  PACKET: 17,
  VSOCK: 40,
} as const;

/** sizeof(struct sockaddr_x25) */
const X25_SIZE = 18;

/** Families whose address is decoded by the table's layout alone. */
const LAYOUTS: Readonly<Record<number, string>> = {
  5: "sockaddr_at",
  29: "sockaddr_can",
  35: "sockaddr_pn",
  38: "sockaddr_alg",
  39: "sockaddr_nfc",
  42: "sockaddr_qrtr",
  44: "sockaddr_xdp",
};

/** The address of which `data` is what there is. */
export function sockaddr(data: Uint8Array, call: CallContext): Value {
  const family = u16(data, 0);
  if (family === undefined) return bytes(data, data.length, "hex");
  const first = field("sa_family", choice("addr_family", family));
  const rest = members(family, data);
  if (rest !== undefined) return struct("sockaddr", [first, ...rest]);
  const name = LAYOUTS[family];
  if (family === AF.X25 && data.length >= X25_SIZE) {
    const address = struct("x25_address", [field("x25_addr", chars(data.subarray(2, X25_SIZE)))]);
    return struct("sockaddr", [first, field("sx25_addr", address)]);
  }
  if (name !== undefined && data.length >= (layout(name)?.size ?? Number.POSITIVE_INFINITY)) {
    return plainStruct(name, data, call, CaptureSide.In);
  }
  if (data.length === 2) return struct("sockaddr", [first]);
  const tail = data.subarray(2);
  return struct("sockaddr", [first, field("sa_data", bytes(tail, tail.length, "path"))]);
}

function members(family: number, data: Uint8Array): FieldValue[] | undefined {
  switch (family) {
    case AF.UNIX:
      return unixPath(data.subarray(2));
    case AF.INET:
      if (data.length < 16) return undefined;
      return [
        field("sin_port", port(u16be(data, 2) ?? 0)),
        field("sin_addr", ipv4(u32(data, 4) ?? 0)),
      ];
    case AF.INET6:
      return data.length < 24 ? undefined : inet6(data);
    case AF.NETLINK:
      if (data.length < 12) return undefined;
      return [
        field("nl_pid", int(i32(data, 4) ?? 0)),
        field("nl_groups", groups(u32(data, 8) ?? 0)),
      ];
    case AF.VSOCK:
      if (data.length < 16) return undefined;
      return [
        field("svm_cid", choice("vsock_cid", u32(data, 8) ?? 0)),
        field("svm_port", hexInt(u32(data, 4) ?? 0)),
        field("svm_flags", flags("vsock_flags", data[12] ?? 0)),
      ];
    case AF.PACKET:
      return data.length < 12 ? undefined : packet(data);
    default:
      return undefined;
  }
}

const utf8 = new TextDecoder();

/** An abstract name begins with NUL, and is written with `@` before the quotes. */
function unixPath(path: Uint8Array): FieldValue[] {
  if (path.length === 0) return [];
  if (path[0] !== 0) {
    const nul = path.indexOf(0);
    return [field("sun_path", bytes(nul < 0 ? path : path.subarray(0, nul), undefined, "path"))];
  }
  const name = bytes(path.subarray(1), path.length - 1, "path");
  const items = [{ value: symbol("@") }, { value: name }];
  const plain = `@${utf8.decode(name.bytes)}`;
  return [field("sun_path", { kind: "list", sep: "", items, plain })];
}

function groups(value: number): Value {
  const text = value === 0 ? "00000000" : `0x${value.toString(16).padStart(6, "0")}`;
  return { kind: "int", value, base: "hex", text };
}

function inet6(data: Uint8Array): FieldValue[] {
  const flow = ((u16be(data, 4) ?? 0) * 0x10000 + (u16be(data, 6) ?? 0)) >>> 0;
  const address = ipv6Text(data.subarray(8, 24));
  const fields = [
    field("sin6_port", port(u16be(data, 2) ?? 0)),
    field("sin6_flowinfo", apply("htonl", [int(flow)])),
    // strace writes this member as the call that would fill it in.
    {
      name: "",
      key: "sin6_addr",
      value: apply(
        "inet_pton",
        [symbol("AF_INET6"), symbol(`"${address}"`), symbol("&sin6_addr")],
        address,
      ),
    },
  ];
  const scope = u32(data, 24);
  if (scope !== undefined) fields.push(field("sin6_scope_id", int(scope)));
  return fields;
}

function packet(data: Uint8Array): FieldValue[] {
  const protocol = u16be(data, 2) ?? 0;
  const name = choiceName("ether_protocol", protocol);
  const length = data[11] ?? 0;
  const octets = [...data.subarray(12, 12 + Math.min(length, 8))].map((byte) => hexInt(byte));
  return [
    field("sll_protocol", apply("htons", [name === undefined ? hexInt(protocol) : symbol(name)])),
    field("sll_ifindex", int(i32(data, 4) ?? 0)),
    field("sll_hatype", choice("arp_hardware", u16(data, 8) ?? 0)),
    field("sll_pkttype", choice("packet_type", data[10] ?? 0)),
    field("sll_halen", int(length)),
    field("sll_addr", array(octets)),
  ];
}

/** Longest address that the kernel takes (sizeof struct sockaddr_storage). */
const MAX_SOCKADDR = 128;

/** The address of `length` bytes at `addr`. */
export function sockaddrAt(call: CallContext, addr: Num, length: number, side: number): Value {
  if (addr === 0) return NULL;
  if (length < 2 || (side === CaptureSide.In && length > MAX_SOCKADDR + 1)) return pointer(addr);
  const data = call.memory.read(addr, Math.min(length, MAX_SOCKADDR), side);
  return data === undefined || data.length < 2 ? pointer(addr) : sockaddr(data, call);
}

const sockaddrArg: ArgDecoder = (call, k, side) => {
  const row = call.row?.args[k];
  const length = row === undefined ? undefined : lengthOf(call, row.len, side);
  return sockaddrAt(call, call.arg(k), length ?? 0, side);
};

export const sockaddrFamily: Family = { args: { sockaddr: sockaddrArg } };
