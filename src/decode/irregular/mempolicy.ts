/** NUMA memory policy: masks of nodes, as the words that they are, and the state of moved pages. */

import { CaptureSide } from "../../trace/batch.js";
import type { CallContext } from "../context.js";
import { i32, uword } from "../memory.js";
import { ERRNO_NAMES } from "../names.generated.js";
import { array, int, symbol, type Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import { digits } from "./members.js";
import type { ArgDecoder, Family, Shape } from "./registry.js";

const { Out } = CaptureSide;

/** Most words of a mask that are shown. */
const MOST = 4096;

/** `[0x0000000000000001]`: the mask word by word. Its length in bits is an argument. */
const nodemask: ArgDecoder = (call, k, side) => {
  const addr = call.arg(k);
  const { word } = call;
  const nodes = call.count(call.name === "migrate_pages" ? 1 : k + 1);
  const count = Math.floor((nodes + 8 * word - 2) / (8 * word));
  if (addr === 0 || (side === Out && !call.succeeded)) return address(addr);
  if (count === 0) return array([]);
  const data = call.memory.read(addr, Math.min(count, MOST) * word, side);
  if (data === undefined) return address(addr);
  const items: Value[] = [];
  for (let at = 0; at + word <= data.length; at += word) {
    const value = uword(data, at, word) ?? 0;
    const text = value === 0 ? "0".repeat(2 * word) : undefined;
    items.push(
      text === undefined ? digits(value, word) : { kind: "int", value, base: "hex", text },
    );
  }
  return array(items, items.length < count);
};

/** Where a page is now, or why it is nowhere. */
function pageState(value: number): Value {
  const name = value < 0 ? ERRNO_NAMES[-value] : undefined;
  return name === undefined || name === "" ? int(value) : symbol(`-${name}`);
}

function movePages(call: CallContext): Shape {
  const addr = call.arg(4);
  const count = call.count(1);
  const args = new Arguments(call).plain(0, 1, 2, 3);
  const data = call.succeeded ? call.memory.read(addr, Math.min(count, MOST) * 4, Out) : undefined;
  if (addr === 0 || data === undefined) return args.late(4, address(addr)).plain(5).shape();
  const items = Array.from({ length: Math.floor(data.length / 4) }, (_, k) =>
    pageState(i32(data, 4 * k) ?? 0),
  );
  return args
    .late(4, array(items, items.length < count))
    .plain(5)
    .shape();
}

export const mempolicyFamily: Family = {
  args: { nodemask },
  calls: { move_pages: movePages },
};
