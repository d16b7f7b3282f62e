/** A list of arguments that grows: for whole-call decoders, which take names from the row and values from anywhere. */

import { genericArg } from "../argument.js";
import type { CallContext } from "../context.js";
import type { Argument, Value } from "../value.js";
import { isLate, kindValue } from "./kinds.js";
import type { Shape } from "./registry.js";

export class Arguments {
  readonly #call: CallContext;
  readonly #list: Argument[] = [];

  constructor(call: CallContext) {
    this.#call = call;
  }

  #name(k: number): string {
    return this.#call.row?.args[k]?.name ?? `arg${k + 1}`;
  }

  /** Argument `k`, known at entry. */
  add(k: number, value: Value): this {
    this.#list.push({ name: this.#name(k), value });
    return this;
  }

  /** Argument `k`, known at exit. */
  late(k: number, value: Value): this {
    this.#list.push({ name: this.#name(k), value, at: "exit" });
    return this;
  }

  /** Argument `k`, of which a change is shown half at entry and half at exit. */
  both(k: number, value: Value): this {
    this.#list.push({ name: this.#name(k), value, at: "both" });
    return this;
  }

  /** Argument that no register of the call holds, or that has another name than the register. */
  named(name: string, value: Value, at: "entry" | "exit" = "entry"): this {
    this.#list.push(at === "exit" ? { name, value, at } : { name, value });
    return this;
  }

  /** Arguments as their rows say. */
  plain(...ks: readonly number[]): this {
    for (const k of ks) this.#list.push(genericArg(this.#call, k));
    return this;
  }

  /** Argument `k` by the notation of kinds.ts. */
  kind(k: number, kind: string): this {
    const value = kindValue(this.#call, k, kind);
    return isLate(kind) ? this.late(k, value) : this.add(k, value);
  }

  shape(result?: Shape["result"]): Shape {
    return result === undefined ? { args: this.#list } : { args: this.#list, result };
  }
}
