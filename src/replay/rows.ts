/** Single events, as the parts of a desync report look at them. */

import { syscallName } from "../decode/context.js";
import { type EventBatch, EventFlag, EventKind } from "../trace/batch.js";
import { sliceBatch } from "../trace/columns.js";
import { unsigned } from "../trace/word.js";

/** One event: of a trace, or what a replay did in its place. */
export interface Row {
  readonly batch: EventBatch;
  readonly i: number;
}

export function seqOf({ batch, i }: Row): number {
  return batch.firstSeq + i;
}

export function kindOf({ batch, i }: Row): number {
  return batch.kind[i] ?? -1;
}

export function isCall(row: Row | undefined): row is Row {
  return row !== undefined && kindOf(row) === EventKind.Call;
}

/** The name of the call with its architecture, since i386's `read` is not x86-64's. */
export function callName({ batch, i }: Row): string {
  const arch = batch.arch[i] ?? 0;
  const name = syscallName(arch, batch.code[i] ?? -1);
  return arch === 1 ? `${name} (i386)` : name;
}

/** The call as it was at its entry: what the kernel made of it is left out. */
export function entryOf({ batch, i }: Row): Row {
  const one = sliceBatch(batch, i, i + 1);
  return { batch: { ...one, flags: Uint8Array.of(EventFlag.NoResult) }, i: 0 };
}

/** Argument register `k`. */
export function registerOf({ batch, i }: Row, k: number): number | bigint {
  return unsigned(batch.args[12 * i + 2 * k] ?? 0, batch.args[12 * i + 2 * k + 1] ?? 0);
}

/** The instruction or stack pointer; undefined where the event has none. */
export function pointerOf({ batch, i }: Row, column: "ip" | "sp"): number | bigint | undefined {
  const value = unsigned(batch[column][2 * i] ?? 0, batch[column][2 * i + 1] ?? 0);
  return value === 0 ? undefined : value;
}

/** Bytes of a `syscall` or `int 0x80` instruction: the recorded address is that behind it. */
const SYSCALL_BYTES = 2n;

/** Where the instruction of the event is. */
export function codeAddress(row: Row): bigint | undefined {
  const ip = pointerOf(row, "ip");
  if (ip === undefined) return undefined;
  const behind = BigInt(ip);
  return isCall(row) && behind >= SYSCALL_BYTES ? behind - SYSCALL_BYTES : behind;
}
