/** Landlock: attributes that grow with the kernel, and rules of several types. */

import { CaptureSide } from "../../trace/batch.js";
import { returnFd } from "../call_result.js";
import type { CallContext } from "../context.js";
import { choiceName, flags } from "../flags.js";
import { hexInt, int, type Value } from "../value.js";
import { Arguments } from "./arguments.js";
import { address } from "./kinds.js";
import { Members, shown } from "./members.js";
import type { Family, Shape } from "./registry.js";

const { In } = CaptureSide;

const MIN_SIZE = 8;
const KNOWN_SIZE = 24;
const CREATE_VERSION = 3;

function ruleset(call: CallContext): Value {
  const addr = call.arg(0);
  const size = call.count(1);
  const wanted = Math.min(size, KNOWN_SIZE);
  const data = size < MIN_SIZE ? undefined : call.memory.readAll(addr, wanted, In);
  if (data === undefined) return address(addr);
  const m = new Members("landlock_ruleset_attr", data, call, In);
  m.add("handled_access_fs handled_access_net scoped");
  m.elided = size > KNOWN_SIZE;
  return m.value();
}

/** With the flags that ask for a version, the result is a number and no descriptor. */
function createRuleset(call: CallContext): Shape {
  const asks = (call.low(2) & CREATE_VERSION) !== 0;
  const args = new Arguments(call).add(0, ruleset(call)).plain(1, 2);
  return args.shape({ value: asks ? int(call.retLow | 0) : returnFd(call) });
}

const RULES: Readonly<Record<string, readonly [layout: string, members: string]>> = {
  LANDLOCK_RULE_PATH_BENEATH: ["landlock_path_beneath_attr", "allowed_access parent_fd"],
  LANDLOCK_RULE_NET_PORT: ["landlock_net_port_attr", "allowed_access port"],
};

function addRule(call: CallContext): Shape {
  const known = RULES[choiceName("landlock_rule_type", call.low(1)) ?? ""];
  const addr = call.arg(2);
  const value = known === undefined ? address(addr) : shown(known[0], addr, call, In, known[1]);
  const args = new Arguments(call).plain(0, 1).add(2, value);
  return args.add(3, hexInt(call.low(3))).shape();
}

function restrictSelf(call: CallContext): Shape {
  const value = flags("landlock_restrict_flags", call.low(1));
  const args = new Arguments(call).plain(0);
  return args.add(1, value.names.length === 0 ? hexInt(call.low(1)) : value).shape();
}

export const landlockFamily: Family = {
  calls: {
    landlock_create_ruleset: createRuleset,
    landlock_add_rule: addRule,
    landlock_restrict_self: restrictSelf,
  },
};
