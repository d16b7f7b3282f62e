/** Netlink messages: headers, errors, the common parts of rtnetlink, inet_diag, and the frame of generic netlink. */

import { CaptureSide } from "../../trace/batch.js";
import type { CallContext } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { i32, u16, u32, u64 } from "../memory.js";
import { ERRNO_NAMES } from "../names.generated.js";
import { interfaceIndex, ipv4, ipv6, port } from "../scalar.js";
import { chars, layout, plainStruct } from "../struct.js";
import {
  array,
  bytes,
  type FieldValue,
  field,
  int,
  type StructValue,
  struct,
  symbol,
  type Value,
} from "../value.js";

const HEADER = 16;
const MAX_DEPTH = 4;
const MAX_MESSAGES = 1024;

/**
 * The netlink protocol of the socket in argument 0: `ROUTE`, `SOCK_DIAG`; empty when only the family is known. The
 * object says `NETLINK-ROUTE`, or `NETLINK:[ROUTE:1234]`.
 */
function protocolOf(call: CallContext): string {
  const detail = call.object(0)?.detail ?? "";
  return /^NETLINK(?:-|:\[)([A-Z_]+)/.exec(detail)?.[1] ?? "";
}

/** True when the descriptor in argument 0 is a netlink socket. */
export function isNetlink(call: CallContext): boolean {
  return call.object(0)?.detail.startsWith("NETLINK") === true;
}

/** The messages in a buffer; undefined when it does not hold one. */
export function netlinkMessages(
  data: Uint8Array,
  call: CallContext,
  side: number,
): Value | undefined {
  const protocol = protocolOf(call);
  const items: Value[] = [];
  let at = 0;
  while (at + HEADER <= data.length && items.length < MAX_MESSAGES) {
    const length = u32(data, at) ?? 0;
    if (length < HEADER) break;
    items.push(
      message(data.subarray(at, Math.min(at + length, data.length)), call, protocol, side),
    );
    at += Math.ceil(length / 4) * 4;
  }
  if (items.length === 0) {
    return data.length < HEADER ? bytes(data, data.length, "hex") : headerValue(data, protocol);
  }
  return items.length === 1 ? items[0] : { ...array(items, at < data.length), whole: true };
}

function message(data: Uint8Array, call: CallContext, protocol: string, side: number): Value {
  const type = u16(data, 4) ?? 0;
  const header = headerValue(data, protocol);
  if (data.length <= HEADER) return header;
  const body = data.subarray(HEADER);
  const parts = payload(body, type, call, protocol, side);
  return { ...array([header, ...parts]), whole: true };
}

/** Sets of message types by protocol. */
const TYPES: Readonly<Record<string, string>> = {
  ROUTE: "nl_route_type",
  SOCK_DIAG: "nl_sock_diag_type",
  AUDIT: "nl_audit_type",
  XFRM: "nl_xfrm_type",
  SELINUX: "nl_selinux_type",
  CRYPTO: "nl_crypto_type",
  GENERIC: "nl_genl_id",
};

const FIRST_TYPE = 16;
const NLMSG = { ERROR: 2, DONE: 3 } as const;
const GENL_CTRL = 16;

function typeValue(type: number, protocol: string): Value {
  if (type < FIRST_TYPE) return choice("nlmsg_type", type);
  if (protocol === "GENERIC" && type === GENL_CTRL) return symbol("nlctrl");
  return choice(TYPES[protocol] ?? "nlmsg_type", type);
}

function headerValue(data: Uint8Array, protocol: string): StructValue {
  const type = u16(data, 4) ?? 0;
  return struct("nlmsghdr", [
    field("nlmsg_len", int(u32(data, 0) ?? 0)),
    field("nlmsg_type", typeValue(type, protocol)),
    field("nlmsg_flags", headerFlags(u16(data, 6) ?? 0, type, protocol)),
    field("nlmsg_seq", int(u32(data, 8) ?? 0)),
    field("nlmsg_pid", int(u32(data, 12) ?? 0)),
  ]);
}

/** The upper flags mean different things in requests that get, make and delete. */
function headerFlags(value: number, type: number, protocol: string): Value {
  const base = flags("nlmsg_flags", value);
  if (base.rest === 0) return base;
  const set = upperFlags(type, protocol);
  if (set === undefined) return base;
  const upper = flags(set, base.rest);
  return { ...base, names: [...base.names, ...upper.names], rest: upper.rest };
}

function upperFlags(type: number, protocol: string): string | undefined {
  if (type === NLMSG.ERROR) return "nlmsg_ack_flags";
  if (protocol === "SOCK_DIAG") return "nlmsg_get_flags";
  if (protocol !== "ROUTE" || type < FIRST_TYPE) return undefined;
  return ["nlmsg_new_flags", "nlmsg_delete_flags", "nlmsg_get_flags", "nlmsg_new_flags"][type & 3];
}

function payload(
  body: Uint8Array,
  type: number,
  call: CallContext,
  protocol: string,
  side: number,
): Value[] {
  if (type === NLMSG.DONE && body.length >= 4) return [int(i32(body, 0) ?? 0)];
  if (type === NLMSG.ERROR && body.length >= 4) return [errorValue(body, call, protocol)];
  if (protocol === "ROUTE" && type >= FIRST_TYPE) return routePayload(body, type, call, side);
  if (protocol === "SOCK_DIAG" && type === SOCK_DIAG_BY_FAMILY)
    return diagPayload(body, call, side);
  return [bytes(body, body.length, "hex")];
}

function errorValue(body: Uint8Array, call: CallContext, protocol: string): Value {
  const error = i32(body, 0) ?? 0;
  const name = error < 0 ? ERRNO_NAMES[-error] : undefined;
  const fields: FieldValue[] = [
    field("error", name === undefined || name === "" ? int(error) : symbol(`-${name}`)),
  ];
  const original = body.subarray(4);
  if (original.length >= HEADER)
    fields.push(field("msg", message(original, call, protocol, CaptureSide.In)));
  return struct("nlmsgerr", fields);
}

const LINKS = "ifinfo_attr";

/** Structs and attributes of rtnetlink messages, by their number without the verb. */
const ROUTES: readonly (readonly [struct: string, attributes: string])[] = [
  ["ifinfomsg", LINKS],
  ["ifaddrmsg", "ifa_attr"],
  ["rtmsg", "rta_attr"],
  ["ndmsg", "nda_attr"],
  ["fib_rule_hdr", "fib_rule_attr"],
  ["tcmsg", "tca_attr"],
  ["tcmsg", "tca_attr"],
  ["tcmsg", "tca_attr"],
];

function routePayload(body: Uint8Array, type: number, call: CallContext, side: number): Value[] {
  const route = ROUTES[(type - FIRST_TYPE) >> 2];
  const row = route && layout(route[0]);
  if (route === undefined || row === undefined) {
    const family = field("family", choice("addr_family", body[0] ?? 0));
    const rest = body.subarray(1);
    return [struct("rtgenmsg", [family, field("data", bytes(rest, rest.length, "hex"))])];
  }
  const rest = body.subarray(Math.ceil(row.size / 4) * 4);
  // What is asked for may have another name; what the kernel tells of has the one that it tells.
  const name = side === CaptureSide.In || route[1] !== LINKS ? undefined : nameOf(rest);
  const head = named(plainStruct(route[0], body, call, side), name);
  if (body.length < row.size) {
    const family = head.kind === "struct" ? head.fields.slice(0, 1) : [];
    return [struct(route[0], family, true)];
  }
  const parts = [head];
  if (rest.length >= 4) {
    const family = body[0] ?? 0;
    parts.push(
      attributes(rest, route[1], (set, kind, data) => routeValue(set, kind, data, family, call, 0)),
    );
  }
  return parts;
}

/** The name that a message about an interface gives it. */
function nameOf(data: Uint8Array): Value | undefined {
  for (const { type, body } of attributesOf(data)) {
    if (choiceName(LINKS, type) === "IFLA_IFNAME" && body.length > 0) return chars(body);
  }
  return undefined;
}

/** The index of an interface by the function that finds it, if it has a `name` that is known. */
function named(value: Value, name: Value | undefined): Value {
  if (value.kind !== "struct") return value;
  const fields = value.fields.map((member) =>
    /^(ifi|ifa|ndm|tcm)_(if)?index$/.test(member.name) && member.value.kind === "int"
      ? { ...member, value: interfaceIndex(Number(member.value.value), name) }
      : member,
  );
  return { ...value, fields };
}

type AttributeValue = (set: string, type: number, data: Uint8Array) => Value;

const NLA_F = 0xc000;

interface Attribute {
  readonly length: number;
  readonly type: number;
  readonly body: Uint8Array;
}

function* attributesOf(data: Uint8Array): Generator<Attribute> {
  let at = 0;
  for (let count = 0; at + 4 <= data.length && count < MAX_MESSAGES; count++) {
    const length = u16(data, at) ?? 0;
    if (length < 4) break;
    const body = data.subarray(at + 4, Math.min(at + length, data.length));
    yield { length, type: u16(data, at + 2) ?? 0, body };
    at += Math.ceil(length / 4) * 4;
  }
}

/** `[[{nla_len=8, nla_type=IFLA_MTU}, 1500], ...]`. */
function attributes(data: Uint8Array, set: string, value: AttributeValue): Value {
  const items: Value[] = [];
  for (const { length, type, body } of attributesOf(data)) {
    const head = struct("nlattr", [
      field("nla_len", int(length)),
      field("nla_type", attributeType(set, type)),
    ]);
    const item = body.length === 0 ? head : array([head, value(set, type & ~NLA_F, body)]);
    items.push(item.kind === "array" ? { ...item, whole: true } : item);
  }
  const [only] = items;
  if (items.length === 1 && only !== undefined) return only;
  return items.length === 0 ? bytes(data, data.length, "hex") : { ...array(items), whole: true };
}

function attributeType(set: string, type: number): Value {
  const bits = type & NLA_F;
  if (bits === 0) return choice(set, type);
  return {
    kind: "list",
    sep: "|",
    items: [{ value: flags("nla_type_flags", bits) }, { value: choice(set, type & ~NLA_F) }],
  };
}

/** Attributes that hold a string, by set and name. */
const STRINGS = new Set([
  "IFLA_IFNAME",
  "IFLA_QDISC",
  "IFLA_IFALIAS",
  "IFA_LABEL",
  "IFLA_INFO_KIND",
  "IFLA_PARENT_DEV_NAME",
  "IFLA_PARENT_DEV_BUS_NAME",
]);
const ADDRESSES = new Set([
  "IFA_ADDRESS",
  "IFA_LOCAL",
  "IFA_BROADCAST",
  "IFA_ANYCAST",
  "IFA_MULTICAST",
  "RTA_DST",
  "RTA_SRC",
  "RTA_GATEWAY",
  "RTA_PREFSRC",
  "NDA_DST",
]);
const HARDWARE = new Set(["IFLA_ADDRESS", "IFLA_BROADCAST", "IFLA_PERM_ADDRESS", "NDA_LLADDR"]);
const STRUCTS: Readonly<Record<string, string>> = {
  IFA_CACHEINFO: "ifa_cacheinfo",
  RTA_CACHEINFO: "rta_cacheinfo",
  NDA_CACHEINFO: "nda_cacheinfo",
  IFLA_STATS: "rtnl_link_stats",
  IFLA_STATS64: "rtnl_link_stats64",
  IFLA_MAP: "rtnl_link_ifmap",
};
const NESTED: Readonly<Record<string, string>> = {
  IFLA_LINKINFO: "ifla_info",
  RTA_METRICS: "rtax_attr",
};

function routeValue(
  set: string,
  type: number,
  data: Uint8Array,
  family: number,
  call: CallContext,
  depth: number,
): Value {
  const name = choiceName(set, type) ?? "";
  if (STRINGS.has(name)) return chars(data);
  if (ADDRESSES.has(name)) return networkAddress(data, family);
  if (HARDWARE.has(name) && data.length <= 32) {
    return symbol([...data].map((byte) => byte.toString(16).padStart(2, "0")).join(":"));
  }
  if (name === "IFA_FLAGS" && data.length >= 4) return flags("ifa_flags", u32(data, 0) ?? 0);
  if (name === "RTA_TABLE" && data.length >= 4) return choice("rt_table", u32(data, 0) ?? 0);
  const inner = STRUCTS[name];
  if (inner !== undefined && layout(inner) !== undefined) {
    return plainStruct(inner, data, call, CaptureSide.In);
  }
  const nested = NESTED[name];
  if (nested !== undefined && depth < MAX_DEPTH) {
    return attributes(data, nested, (attributeSet, kind, part) =>
      routeValue(attributeSet, kind, part, family, call, depth + 1),
    );
  }
  return name === "" ? bytes(data, data.length, "hex") : numberValue(data);
}

function numberValue(data: Uint8Array): Value {
  switch (data.length) {
    case 1:
      return int(data[0] ?? 0);
    case 2:
      return int(u16(data, 0) ?? 0);
    case 4:
      return int(u32(data, 0) ?? 0);
    case 8:
      return int(u64(data, 0) ?? 0);
    default:
      return bytes(data, data.length, "hex");
  }
}

const AF_INET = 2;
const AF_INET6 = 10;

function networkAddress(data: Uint8Array, family: number): Value {
  if (family === AF_INET && data.length >= 4) return ipv4(u32(data, 0) ?? 0);
  if (family === AF_INET6 && data.length >= 16) return ipv6(data);
  return bytes(data, data.length, "hex");
}

const SOCK_DIAG_BY_FAMILY = 20;

/** A request when it is sent, an answer when it is received. */
function diagPayload(body: Uint8Array, call: CallContext, side: number): Value[] {
  const name = side === CaptureSide.In ? "inet_diag_req_v2" : "inet_diag_msg";
  const family = body[0] ?? 0;
  const row = layout(name);
  if ((family !== AF_INET && family !== AF_INET6) || row === undefined || body.length < row.size) {
    return [bytes(body, body.length, "hex")];
  }
  const head = plainStruct(name, body, call, side);
  const at = name === "inet_diag_req_v2" ? 8 : 4;
  const id = sockid(body.subarray(at, at + 48), family);
  const parts: Value[] = [head.kind === "struct" ? withId(head, id) : head];
  const rest = body.subarray(row.size);
  if (rest.length >= 4) {
    parts.push(attributes(rest, "inet_diag_attr", (_set, _type, data) => numberValue(data)));
  }
  return parts;
}

function withId(value: StructValue, id: Value): StructValue {
  return {
    ...value,
    fields: value.fields.map((member) => (member.name === "id" ? field("id", id) : member)),
  };
}

function sockid(data: Uint8Array, family: number): Value {
  const swapped = (at: number) => ((data[at] ?? 0) << 8) | (data[at + 1] ?? 0);
  return struct("inet_diag_sockid", [
    field("idiag_sport", port(swapped(0))),
    field("idiag_dport", port(swapped(2))),
    field("idiag_src", networkAddress(data.subarray(4, 20), family)),
    field("idiag_dst", networkAddress(data.subarray(20, 36), family)),
    field("idiag_if", int(u32(data, 36) ?? 0)),
    field("idiag_cookie", array([int(u32(data, 40) ?? 0), int(u32(data, 44) ?? 0)])),
  ]);
}
