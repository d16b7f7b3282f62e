/** keyctl, add_key and request_key: which arguments an operation has, and which of them are keys. */

import { CaptureSide } from "../../trace/batch.js";
import { bytesAt, stringAt } from "../argument.js";
import type { CallContext } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { ERRNO_NAMES } from "../names.generated.js";
import {
  array,
  type ChoiceValue,
  hexInt,
  type IntValue,
  int,
  symbol,
  type Value,
} from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import { type Members, membersAt } from "./members.js";
import { iovecs } from "./message.js";
import type { Family, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

/** The serial number of a key, or the name of one of the special keyrings. */
export function keySerial(id: number): ChoiceValue | IntValue {
  const value = choice("key_special", id >>> 0);
  return value.name === undefined ? int(id | 0) : value;
}

/**
 * Arguments behind the operation: `key` a serial number, `str` a string, `int uint` numbers, `uid`, `perm` permissions,
 * `blob` bytes that the next argument counts, `out` and `text` bytes that come back (`text` ends in a NUL), `iov` buffers.
 */
const OPERATIONS: Readonly<Record<string, string>> = {
  KEYCTL_GET_KEYRING_ID: "key int",
  KEYCTL_JOIN_SESSION_KEYRING: "str",
  KEYCTL_UPDATE: "key blob size",
  KEYCTL_REVOKE: "key",
  KEYCTL_CHOWN: "key uid uid",
  KEYCTL_SETPERM: "key perm",
  KEYCTL_DESCRIBE: "key text size",
  KEYCTL_CLEAR: "key",
  KEYCTL_LINK: "key key",
  KEYCTL_UNLINK: "key key",
  KEYCTL_SEARCH: "key str str key",
  KEYCTL_READ: "key out size",
  KEYCTL_INSTANTIATE: "key blob size key",
  KEYCTL_NEGATE: "key uint key",
  KEYCTL_SET_REQKEY_KEYRING: "reqkey",
  KEYCTL_SET_TIMEOUT: "key uint",
  KEYCTL_ASSUME_AUTHORITY: "key",
  KEYCTL_GET_SECURITY: "key text size",
  KEYCTL_SESSION_TO_PARENT: "",
  KEYCTL_REJECT: "key uint errno key",
  KEYCTL_INSTANTIATE_IOV: "key iov size key",
  KEYCTL_INVALIDATE: "key",
  KEYCTL_GET_PERSISTENT: "uid key",
  KEYCTL_DH_COMPUTE: "dh out size kdf",
  KEYCTL_PKEY_QUERY: "key hex str query",
  KEYCTL_PKEY_ENCRYPT: "pkey str in pkeyout",
  KEYCTL_PKEY_DECRYPT: "pkey str in pkeyout",
  KEYCTL_PKEY_SIGN: "pkey str in pkeyout",
  KEYCTL_PKEY_VERIFY: "verify str in in2",
  KEYCTL_RESTRICT_KEYRING: "key str str",
  KEYCTL_MOVE: "key key key move",
  KEYCTL_CAPABILITIES: "caps size",
};

const LATE: ReadonlySet<string> = new Set(["out", "text", "query", "pkeyout", "caps"]);

function keyctl(call: CallContext): Shape {
  const name = choiceName("keyctl_op", call.low(0)) ?? "";
  const kinds = OPERATIONS[name] ?? "hex hex hex hex";
  const args = new Arguments(call).plain(0);
  let k = 1;
  for (const kind of kinds.split(" ")) {
    if (kind === "") continue;
    const value = operand(call, k, kind);
    if (LATE.has(kind)) args.late(k, value);
    else args.add(k, value);
    k++;
  }
  return args.shape();
}

function operand(call: CallContext, k: number, kind: string): Value {
  const addr = call.arg(k);
  switch (kind) {
    case "key":
      return keySerial(call.low(k));
    case "int":
      return int(call.int(k));
    case "uint":
      return int(call.low(k));
    case "size":
      return int(addr);
    case "uid":
      return int(call.low(k) === 0xffff_ffff ? -1 : call.low(k));
    case "perm":
      return flags("key_perms", call.low(k));
    case "move":
      return flags("keyctl_move_flags", call.low(k));
    case "reqkey":
      return reqkey(call.int(k));
    case "errno":
      return errno(call.low(k));
    case "hex":
      return hexInt(addr);
    case "str":
      return stringAt(call, addr, In, "string");
    case "blob":
      return bytesAt(call, addr, call.count(k + 1), In);
    case "iov":
      return iovecs(call, addr, call.count(k + 1), { side: In, bytes: Number.POSITIVE_INFINITY });
    case "out":
    case "text":
      return answer(call, k, kind === "text");
    case "caps":
      return capabilities(call, k);
    default:
      return structured(call, k, kind);
  }
}

function reqkey(value: number): Value {
  const known = choice("key_reqkey", value >>> 0);
  if (known.name !== undefined) return known;
  return symbol(`${value} /* KEY_REQKEY_DEFL_??? */`);
}

function errno(value: number): Value {
  const name = ERRNO_NAMES[value];
  return name === undefined || name === "" ? int(value) : symbol(name);
}

/** Bytes that come back: as many as the result says, at most as many as the next argument. */
function answer(call: CallContext, k: number, text: boolean): Value {
  const addr = call.arg(k);
  if (!call.succeeded || addr === 0) return address(addr);
  const length = Math.min(call.retCount, call.count(k + 1));
  const value = bytesAt(call, addr, length, Out);
  if (!text || value.kind !== "bytes" || value.bytes[value.total - 1] !== 0) return value;
  return { ...value, bytes: value.bytes.subarray(0, -1), total: value.total - 1 };
}

const CAPABILITY_SETS = ["keyctl_caps0", "keyctl_caps1"] as const;

function capabilities(call: CallContext, k: number): Value {
  const addr = call.arg(k);
  const length = Math.min(call.retCount, call.count(k + 1));
  const data = call.succeeded ? call.memory.read(addr, length, Out) : undefined;
  if (data === undefined) return address(addr);
  const items = Array.from(data, (byte, n): Value => {
    const set = CAPABILITY_SETS[n];
    return set === undefined ? hexInt(byte) : flags(set, byte);
  });
  return array(items, items.length < length);
}

function pkeyParams(call: CallContext): Members | undefined {
  return membersAt("keyctl_pkey_params", call.arg(1), call, In);
}

function structured(call: CallContext, k: number, kind: string): Value {
  const addr = call.arg(k);
  switch (kind) {
    case "dh": {
      const m = membersAt("keyctl_dh_params", addr, call, In);
      if (m === undefined) return address(addr);
      for (const name of ["private", "prime", "base"]) m.put(name, keySerial(m.low(name)));
      return m.value();
    }
    case "kdf":
      return kdf(call, k);
    case "query": {
      const m = call.succeeded ? membersAt("keyctl_pkey_query", addr, call, Out) : undefined;
      const members = "supported_ops key_size max_data_size max_sig_size max_enc_size max_dec_size";
      return m?.add(members).value() ?? address(addr);
    }
    case "pkey":
    case "verify": {
      const m = pkeyParams(call);
      if (m === undefined) return address(addr);
      m.put("key_id", keySerial(m.low("key_id")));
      return m.add(kind === "pkey" ? "in_len out_len" : "in_len in2_len").value();
    }
    default:
      return operated(call, k, kind);
  }
}

/** Data of the public key operations: the struct in the first argument says how long they are. */
function operated(call: CallContext, k: number, kind: string): Value {
  const addr = call.arg(k);
  const m = pkeyParams(call);
  if (m === undefined) return address(addr);
  if (kind === "in") return bytesAt(call, addr, m.low("in_len"), In);
  if (kind === "in2") return bytesAt(call, addr, m.low("in2_len"), In);
  return call.succeeded ? bytesAt(call, addr, m.low("out_len"), Out) : address(addr);
}

/** The layout is that of 64-bit programs. */
function kdf(call: CallContext, k: number): Value {
  if (call.word === 4) return address(call.arg(k));
  const m = membersAt("keyctl_kdf_params", call.arg(k), call, In);
  if (m === undefined) return address(call.arg(k));
  const length = m.low("otherinfolen");
  m.put("hashname", stringAt(call, m.num("hashname"), In, "string"));
  m.put(
    "otherinfo",
    length === 0 ? address(m.num("otherinfo")) : bytesAt(call, m.num("otherinfo"), length, In),
  );
  return m.add("otherinfolen").value();
}

/** The keyring is a serial number or one of the special ones. */
function withKeyring(k: number): (call: CallContext) => Shape {
  return (call) => {
    const args = new Arguments(call);
    for (let at = 0; at < k; at++) args.plain(at);
    return args.add(k, keySerial(call.low(k))).shape();
  };
}

export const keyctlFamily: Family = {
  calls: { keyctl, add_key: withKeyring(4), request_key: withKeyring(3) },
};
