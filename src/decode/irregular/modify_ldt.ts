/** modify_ldt: a segment descriptor where the size says that it is one. */

import { CaptureSide } from "../../trace/batch.js";
import { returnInt } from "../call_result.js";
import type { CallContext } from "../context.js";
import { structAt } from "../struct.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import type { Family, Shape } from "./registry.js";

const DESCRIPTOR_SIZE = 16;

function modifyLdt(call: CallContext): Shape {
  const addr = call.arg(1);
  const one = addr !== 0 && call.arg(2) === DESCRIPTOR_SIZE;
  const value = one ? structAt("user_desc", addr, call, CaptureSide.In) : address(addr);
  const args = new Arguments(call).plain(0).add(1, value).plain(2);
  return args.shape(call.succeeded ? { value: returnInt(call) } : undefined);
}

export const modifyLdtFamily: Family = { calls: { modify_ldt: modifyLdt } };
