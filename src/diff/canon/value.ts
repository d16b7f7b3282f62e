/** The canonical hash of a decoded value: without addresses and without what the rules take out of structs. */

import type { Argument, Value } from "../../decode/value.js";
import type { RuleSet } from "../rules.js";
import { type Hasher, textHash } from "./hash.js";

export function feedArguments(
  hasher: Hasher,
  call: string,
  args: readonly Argument[],
  rules: RuleSet,
): void {
  for (const { name, value } of args) {
    if (!rules.ignoresArgument(call, name)) feed(hasher, value, rules);
  }
}

function feed(hasher: Hasher, value: Value, rules: RuleSet): void {
  switch (value.kind) {
    case "int":
    case "flags":
    case "choice":
      hasher.number(Number(BigInt.asUintN(53, BigInt(value.value))));
      return;
    case "fd":
      if (value.name !== undefined) hasher.number(textHash(value.name));
      else hasher.number(textHash(value.object?.kind ?? "closed"));
      return;
    case "bytes":
      hasher.bytes(value.bytes);
      return;
    case "pointer":
      return;
    case "deref":
      feed(hasher, value.value, rules);
      return;
    case "struct":
      for (const field of value.fields) {
        const member = field.key ?? field.name;
        if (rules.ignoresMember(value.name, member)) continue;
        hasher.number(textHash(member));
        feed(hasher, field.value, rules);
      }
      return;
    case "array":
      hasher.word(value.items.length);
      for (const item of value.items) feed(hasher, item, rules);
      return;
    case "sigset":
      hasher.word(value.negated ? 1 : 0).number(textHash(value.names.join()));
      return;
    case "apply":
      hasher.number(textHash(value.name));
      for (const item of value.args) feed(hasher, item, rules);
      return;
    case "wait":
      hasher.word(value.status);
      return;
    case "change":
      feed(hasher, value.before, rules);
      feed(hasher, value.after, rules);
      return;
    case "symbol":
      hasher.number(textHash(value.text));
      return;
    case "list":
      for (const item of value.items) feed(hasher, item.value, rules);
      return;
  }
}
