/** move_pages: where each page is now, or why it is nowhere. */

import { CaptureSide } from "../../trace/batch.js";
import type { CallContext } from "../context.js";
import { i32 } from "../memory.js";
import { ERRNO_NAMES } from "../names.generated.js";
import { array, int, symbol, type Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import type { Family, Shape } from "./registry.js";

const { In, Out } = CaptureSide;

/** Most words of a mask that are shown. */
const MOST = 4096;

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
  calls: { move_pages: movePages },
};
