/** statmount and listmount: an answer of which the mask says what it holds, with strings behind it. */

import { CaptureSide } from "../../trace/batch.js";
import type { CallContext } from "../context.js";
import { choice, choiceName, flags } from "../flags.js";
import { u64 } from "../memory.js";
import { layout } from "../struct.js";
import { array, bytes, hexInt, type Num, type Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import { Members } from "./members.js";
import type { Family, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

/** Largest request and answer that are looked at. */
const MOST_REQUEST = 4096;
const MOST_ANSWER = 1 << 20;

/** Members by the bit of the mask that fills them; `"` a string's place behind the struct. */
const PARTS: readonly (readonly [bit: number, members: string])[] = [
  [0, "sb_dev_major sb_dev_minor sb_magic sb_flags"],
  [
    1,
    "mnt_id mnt_parent_id mnt_id_old mnt_parent_id_old mnt_attr mnt_propagation mnt_peer_group mnt_master",
  ],
  [2, "propagate_from"],
  [3, '"mnt_root'],
  [4, '"mnt_point'],
  [5, '"fs_type'],
  [6, "mnt_ns_id"],
  [7, '"mnt_opts'],
  [8, '"fs_subtype'],
  [9, '"sb_source'],
  [10, "opt_num opt_array"],
  [11, "opt_sec_num opt_sec_array"],
  [12, "supported_mask"],
  [13, "mnt_uidmap_num mnt_uidmap"],
  [14, "mnt_gidmap_num mnt_gidmap"],
];

function answer(call: CallContext): Value {
  const addr = call.arg(1);
  const wanted = Math.min(call.count(2), MOST_ANSWER);
  const data = call.succeeded ? call.memory.read(addr, wanted, Out) : undefined;
  const size = layout("statmount")?.size ?? 0;
  if (data === undefined || data.length < 16) return address(addr);
  const m = new Members("statmount", data, call, Out);
  m.add("size mask");
  const mask = BigInt(m.num("mask"));
  for (const [bit, members] of PARTS) {
    if (((mask >> BigInt(bit)) & 1n) === 0n) continue;
    if (!members.startsWith('"')) m.add(members);
    else m.put(members.slice(1), stringIn(data, size + m.low(members.slice(1))));
  }
  return m.value();
}

function stringIn(data: Uint8Array, at: number): Value {
  const rest = data.subarray(at);
  const nul = rest.indexOf(0);
  return nul < 0
    ? bytes(rest, rest.length + 1, "string")
    : bytes(rest.subarray(0, nul), nul, "string");
}

function request(call: CallContext, k: number, show: (m: Members) => void): Value {
  const addr = call.arg(k);
  const head = new Members(
    "mnt_id_req",
    call.memory.read(addr, 4, In) ?? new Uint8Array(0),
    call,
    In,
  );
  const size = Math.min(head.low("size"), MOST_REQUEST);
  const data = size === 0 ? undefined : call.memory.read(addr, size, In);
  if (data === undefined) return address(addr);
  const m = new Members("mnt_id_req", data, call, In);
  m.add("size mnt_ns_fd?");
  show(m);
  return m.add("mnt_ns_id").value();
}

function mountId(value: Num): Value {
  return choiceName("listmount_root", value) === undefined
    ? hexInt(value)
    : choice("listmount_root", value);
}

function statmount(call: CallContext): Shape {
  const asked = request(call, 0, (m) => {
    m.add("mnt_id").put("param", flags("statmount_mask", m.num("param")));
  });
  return new Arguments(call).add(0, asked).late(1, answer(call)).plain(2, 3).shape();
}

function listmount(call: CallContext): Shape {
  const asked = request(call, 0, (m) => {
    m.put("mnt_id", mountId(m.num("mnt_id")));
    m.add("param");
  });
  const addr = call.arg(1);
  const count = Math.min(call.retCount, MOST_ANSWER / 8);
  const data = call.succeeded ? call.memory.read(addr, 8 * count, Out) : undefined;
  const args = new Arguments(call).add(0, asked);
  if (data === undefined || addr === 0) return args.late(1, address(addr)).plain(2, 3).shape();
  const ids = Array.from({ length: Math.floor(data.length / 8) }, (_, k) =>
    hexInt(u64(data, 8 * k) ?? 0),
  );
  return args
    .late(1, array(ids, ids.length < call.retCount))
    .plain(2, 3)
    .shape();
}

export const statmountFamily: Family = { calls: { statmount, listmount } };
