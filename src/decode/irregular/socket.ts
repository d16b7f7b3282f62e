/** Sockets: types, protocols and options. */

import { CaptureSide } from "../../trace/batch.js";
import { genericArgs, lengthOf } from "../argument.js";
import type { CallContext } from "../context.js";
import { choice, choiceName } from "../flags.js";
import { i32 } from "../memory.js";
import { ERRNO_NAMES } from "../names.generated.js";
import { structFrom } from "../struct.js";
import { apply, bytes, deref, hexInt, int, NULL, pointer, symbol, type Value } from "../value.js";
import { isNetlink, netlinkMessages } from "./netlink.js";
import type { ArgDecoder, Family, Shape } from "./registry.js";

const TYPE_MASK = 0xf;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;

function socketType(value: number): Value {
  const name = choiceName("socket_type", value & TYPE_MASK);
  const rest = (value & ~(TYPE_MASK | SOCK_CLOEXEC | SOCK_NONBLOCK)) >>> 0;
  if (name === undefined) return choice("socket_type", value);
  if (rest !== 0) {
    return {
      kind: "list",
      sep: "|",
      items: [{ value: symbol(name) }, { value: choice("socket_type", rest) }],
    };
  }
  const names = [name];
  if ((value & SOCK_CLOEXEC) !== 0) names.push("SOCK_CLOEXEC");
  if ((value & SOCK_NONBLOCK) !== 0) names.push("SOCK_NONBLOCK");
  return { kind: "flags", set: "socket_type", value, names, rest: 0 };
}

/** Sets of protocol names by address family. */
const PROTOCOLS: Readonly<Record<number, string>> = {
  2: "socket_protocol_inet",
  10: "socket_protocol_inet",
  16: "socket_protocol_netlink",
  24: "socket_protocol_pppox",
  29: "socket_protocol_can",
  31: "socket_protocol_bluetooth",
  34: "socket_protocol_isdn",
  35: "socket_protocol_phonet",
  37: "socket_protocol_caif",
  39: "socket_protocol_nfc",
  41: "socket_protocol_kcm",
  43: "socket_protocol_smc",
};
const AF_PACKET = 17;

function protocol(family: number, value: number): Value {
  if (family === AF_PACKET) {
    const host = ((value & 0xff) << 8) | ((value >>> 8) & 0xff);
    const name = choiceName("ether_protocol", host);
    return apply("htons", [name === undefined ? hexInt(host) : symbol(name)]);
  }
  const set = PROTOCOLS[family];
  return set === undefined ? int(value | 0) : choice(set, value);
}

const SOL = { IP: 0, SOCKET: 1, IPV6: 41 } as const;

/** Sets of option names by level. */
export const OPTION_SETS: Readonly<Record<number, string>> = {
  0: "sockopt_ip",
  1: "sockopt_socket",
  6: "sockopt_tcp",
  17: "sockopt_udp",
  41: "sockopt_ipv6",
  58: "sockopt_icmpv6",
  101: "sockopt_can_raw",
  106: "sockopt_can_isotp",
  107: "sockopt_j1939",
  132: "sockopt_sctp",
  255: "sockopt_icmp",
  263: "sockopt_packet",
  268: "sockopt_llc",
  269: "sockopt_dccp",
  270: "sockopt_netlink",
  271: "sockopt_tipc",
  272: "sockopt_rxrpc",
  275: "sockopt_pnpipe",
  276: "sockopt_rds",
  279: "sockopt_alg",
  280: "sockopt_nfc_llcp",
  281: "sockopt_kcm",
  282: "sockopt_tls",
  283: "sockopt_xdp",
  284: "sockopt_mptcp",
};

function optionName(level: number, option: number, get: boolean): Value {
  const set = OPTION_SETS[level];
  if (set === undefined) return int(option | 0);
  const name = get ? choiceName(`${set}_get`, option) : undefined;
  return name === undefined ? choice(set, option) : { kind: "choice", set, value: option, name };
}

/** Structs that options hold, by level and number. */
const OPTION_STRUCTS: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  [SOL.SOCKET]: { 13: "linger", 17: "ucred", 26: "sock_fprog", 51: "sock_fprog" },
  [SOL.IP]: { 35: "ip_mreq", 36: "ip_mreq" },
  [SOL.IPV6]: { 20: "ipv6_mreq", 21: "ipv6_mreq" },
};
const SO_ERROR = 4;

/** Options that are an int or nothing: SO_DEBUG to SO_PRIORITY of SOL_SOCKET. */
const INT_ONLY: ReadonlySet<string> = new Set(
  [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 18, 19].map(
    (option) => `${SOL.SOCKET}:${option}`,
  ),
);

const sockopt: ArgDecoder = (call, k, side) => {
  const addr = call.arg(k);
  if (addr === 0) return NULL;
  const row = call.row?.args[k];
  const out = side === CaptureSide.Out;
  if (out && !call.succeeded) return pointer(addr);
  const length = Math.min((row && lengthOf(call, row.len, side)) ?? 0, 0x7fff_ffff);
  const data = call.memory.read(addr, length, side);
  if (data === undefined) return pointer(addr);
  return optionValue(call, call.low(1), call.low(2), data, length, side) ?? pointer(addr);
};

function optionValue(
  call: CallContext,
  level: number,
  option: number,
  data: Uint8Array,
  length: number,
  side: number,
): Value | undefined {
  const name = OPTION_STRUCTS[level]?.[option];
  if (name !== undefined && data.length >= 8) return structFrom(name, data, call, side);
  const short = side === CaptureSide.In && length < 4 && INT_ONLY.has(`${level}:${option}`);
  if (name !== undefined || short || (length === 0 && side === CaptureSide.Out)) return undefined;
  if (length !== 4 || data.length < 4) return bytes(data, length, "buffer");
  const value = i32(data, 0) ?? 0;
  if (level === SOL.SOCKET && option === SO_ERROR && value !== 0) {
    const error = ERRNO_NAMES[value];
    if (error !== undefined && error !== "") return deref(symbol(error));
  }
  return deref(int(value));
}

/** The buffer of a netlink socket holds messages. */
function withMessages(k: number, side: number): (call: CallContext) => Shape {
  return (call) => {
    const args = genericArgs(call);
    const buffer = args[k];
    if (buffer?.value.kind !== "bytes" || !isNetlink(call)) return { args };
    const value = netlinkMessages(buffer.value.bytes, call, side);
    if (value !== undefined) args[k] = { ...buffer, value };
    return { args };
  };
}

export const socketFamily: Family = {
  args: {
    socket_type: (call, k) => socketType(call.low(k)),
    socket_protocol: (call, k) =>
      call.row?.name === "socketpair" ? int(call.int(k)) : protocol(call.low(0), call.low(k)),
    sockopt_name: (call, k) =>
      optionName(call.low(1), call.low(k), call.row?.name === "getsockopt"),
    sockopt,
  },
  calls: {
    sendto: withMessages(1, CaptureSide.In),
    recvfrom: withMessages(1, CaptureSide.Out),
  },
};
