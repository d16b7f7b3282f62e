/** lsm_get_self_attr, lsm_set_self_attr and lsm_list_modules: records that say their own length, and lists of ids. */

import { CaptureSide } from "../../trace/batch.js";
import type { CallContext } from "../context.js";
import { choice } from "../flags.js";
import { u32, u64 } from "../memory.js";
import { layout } from "../struct.js";
import { array, bytes, type Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import { Members } from "./members.js";
import type { Family, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

/** Most of the answer that is looked at. */
const MOST = 1 << 16;

/** The records in `data`; each has a header, then its text, and says how long both are. */
function contexts(call: CallContext, data: Uint8Array, side: number): Value {
  const header = layout("lsm_ctx")?.size ?? data.length;
  const items: Value[] = [];
  let at = 0;
  while (at + header <= data.length) {
    const m = new Members("lsm_ctx", data.subarray(at, at + header), call, side);
    const total = Number(m.num("len"));
    const size = Number(m.num("ctx_len"));
    m.add("id flags len ctx_len");
    const text = data.subarray(at + header, at + header + Math.min(size, data.length));
    const nul = text[text.length - 1] === 0;
    m.put("ctx", bytes(nul ? text.subarray(0, -1) : text, nul ? size - 1 : size, "string"));
    items.push(m.value());
    if (total < header || total > data.length - at) break;
    at += total;
  }
  return array(items);
}

/** The size that the kernel tells after the call. */
function told(call: CallContext, k: number): number {
  const data = call.memory.readAll(call.arg(k), 4, Out);
  return Math.min(data === undefined ? 0 : (u32(data, 0) ?? 0), MOST);
}

function getSelfAttr(call: CallContext): Shape {
  const addr = call.arg(1);
  const data = call.succeeded ? call.memory.read(addr, told(call, 2), Out) : undefined;
  const value = data === undefined || addr === 0 ? address(addr) : contexts(call, data, Out);
  return new Arguments(call).plain(0).late(1, value).plain(2, 3).shape();
}

function setSelfAttr(call: CallContext): Shape {
  const addr = call.arg(1);
  const data = call.memory.read(addr, Math.min(call.count(2), MOST), In);
  const value = data === undefined || addr === 0 ? address(addr) : contexts(call, data, In);
  return new Arguments(call).plain(0).add(1, value).plain(2, 3).shape();
}

function listModules(call: CallContext): Shape {
  const addr = call.arg(0);
  const data = call.succeeded ? call.memory.read(addr, told(call, 1), Out) : undefined;
  if (data === undefined || addr === 0) {
    return new Arguments(call).late(0, address(addr)).plain(1, 2).shape();
  }
  const ids = Array.from({ length: Math.floor(data.length / 8) }, (_, k) =>
    choice("lsm_id", u64(data, 8 * k) ?? 0),
  );
  return new Arguments(call).late(0, array(ids)).plain(1, 2).shape();
}

export const lsmFamily: Family = {
  calls: {
    lsm_get_self_attr: getSelfAttr,
    lsm_set_self_attr: setSelfAttr,
    lsm_list_modules: listModules,
  },
};
