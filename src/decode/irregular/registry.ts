/**
 * Where the decoders of irregular families are found.
 *
 * How to add a family: write one file in this folder that exports a `Family`, and add it to the list in `all.ts`.
 *
 *     export const quotactl: Family = {
 *       args: { quotactl: (call, k, side) => ... },      // arguments of type Irregular("quotactl")
 *       structs: { dqblk: (data, call, side) => ... },   // struct of that name, wherever it stands
 *       calls: { quotactl: (call) => ({ args: ... }) },  // the whole call, when the number or order of arguments varies
 *       returns: { quotactl: (call) => ... },            // results of type Irregular("quotactl")
 *       optional: { quotactl: { arg, mask, keep } },     // trailing arguments that only some flags give a meaning
 *       views: { dqblk: (value) => ... },                // how a struct of the table is shown in short
 *     };
 *
 * Rules: return data (`value.ts`), never text; read memory only through `call.memory`, which bounds every read and
 * answers `undefined` for what was not captured; show such things as the raw pointer or number; never throw. Names of
 * constants come from the sets (`flags`, `choice` of flags.ts), layouts from STRUCTS (`structAt`, `structFrom` of
 * struct.ts), other arguments from `genericArg(call, k)` of argument.ts.
 */

import type { CallContext } from "../context.js";
import type { Argument, Result, StructValue, Value } from "../value.js";

/** Value of argument `k`, as memory stood on `side` (CaptureSide.In or Out). */
export type ArgDecoder = (call: CallContext, k: number, side: number) => Value;

/** Value of a struct of which `data` is what there is (maybe less than its size). */
export type StructDecoder = (data: Uint8Array, call: CallContext, side: number) => Value;

/** What a whole-call decoder found. Parts that it leaves out are decoded from the row. */
export interface Shape {
  readonly args?: readonly Argument[];
  readonly result?: Partial<Pick<Result, "value" | "note">>;
}
export type CallDecoder = (call: CallContext) => Shape;

/** Value and remark of a successful result. */
export type ReturnDecoder = (call: CallContext) => Partial<Pick<Result, "value" | "note">>;

/** Arguments from index `keep` on mean something only when argument `arg` has a bit of `mask` (`all`: every bit). */
export interface Optional {
  readonly arg: number;
  readonly mask: number;
  readonly keep: number;
  readonly all?: boolean;
}

/** Whether the optional arguments count in a call of which the word that decides has these low bits. */
export function countsOptional(rule: Optional, low: number): boolean {
  return rule.all === true ? (low & rule.mask) === rule.mask : (low & rule.mask) !== 0;
}

/** Changes how a struct that its layout decodes is shown (`detail`, `hidden`, `note`), never what it holds. */
export type StructView = (value: StructValue) => StructValue;

export interface Family {
  readonly args?: Readonly<Record<string, ArgDecoder>>;
  readonly structs?: Readonly<Record<string, StructDecoder>>;
  readonly calls?: Readonly<Record<string, CallDecoder>>;
  readonly returns?: Readonly<Record<string, ReturnDecoder>>;
  readonly optional?: Readonly<Record<string, Optional>>;
  readonly views?: Readonly<Record<string, StructView>>;
}

const args = new Map<string, ArgDecoder>();
const structs = new Map<string, StructDecoder>();
const calls = new Map<string, CallDecoder>();
const returns = new Map<string, ReturnDecoder>();
const optional = new Map<string, Optional>();
const views = new Map<string, StructView>();

/** Takes a family in. Two decoders for one name are a mistake of ours, so it is refused. */
export function register(family: Family): void {
  addAll(args, family.args, "argument");
  addAll(structs, family.structs, "struct");
  addAll(calls, family.calls, "call");
  addAll(returns, family.returns, "result");
  addAll(optional, family.optional, "optional argument");
  addAll(views, family.views, "view");
}

function addAll<T>(
  map: Map<string, T>,
  entries: Readonly<Record<string, T>> | undefined,
  what: string,
): void {
  for (const [name, decoder] of Object.entries(entries ?? {})) {
    if (map.has(name)) throw new Error(`two ${what} decoders for ${name}`);
    map.set(name, decoder);
  }
}

export const argDecoder = (name: string): ArgDecoder | undefined => args.get(name);
export const structDecoder = (name: string): StructDecoder | undefined => structs.get(name);
export const callDecoder = (name: string): CallDecoder | undefined => calls.get(name);
export const returnDecoder = (name: string): ReturnDecoder | undefined => returns.get(name);
export const optionalArgs = (name: string): Optional | undefined => optional.get(name);
export const structView = (name: string): StructView | undefined => views.get(name);
