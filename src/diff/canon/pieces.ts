/** The bytes that a call moved, as the recording has them. */

import { messageOffsets } from "../../decode/irregular/message.js";
import { captureBytes, uword } from "../../decode/memory.js";
import { CaptureSide, type EventBatch, EventFlag } from "../../trace/batch.js";
import type { Plan } from "./plan.js";

/** Flags of calls that gave nothing. */
export const NOT_OK = EventFlag.Error | EventFlag.NoReturn | EventFlag.NoResult;

/** First capture of event `i` in that slot and side, or -1, where the columns are those of the reader. */
export function captureAt(batch: EventBatch, i: number, slot: number, side: number): number {
  const end = batch.capStart[i + 1] as number;
  for (let c = batch.capStart[i] as number; c < end; c++) {
    if (batch.capSlot[c] === slot && batch.capSide[c] === side) return c;
  }
  return -1;
}

/** The bytes that a call moved, piece by piece, without the lists that say where they are. */
export function forPieces(
  batch: EventBatch,
  i: number,
  data: NonNullable<Plan["data"]>,
  take: (piece: Uint8Array) => void,
): void {
  const side = data.out ? CaptureSide.Out : CaptureSide.In;
  const start = batch.capStart[i] as number;
  const end = batch.capStart[i + 1] as number;
  if (data.shape === "bytes") {
    for (let c = start; c < end; c++) {
      if (batch.capSlot[c] !== data.slot || batch.capSide[c] !== side) continue;
      take(moved(batch, i, captureBytes(batch, c)));
      return;
    }
    return;
  }
  const lists = listsOf(batch, i, data);
  let left = resultOf(batch, i);
  for (let c = start; c < end && left > 0; c++) {
    if (batch.capSlot[c] !== data.slot || batch.capSide[c] !== side) continue;
    if (lists.includes(addressOf(batch.capAddr, c))) continue;
    const piece = captureBytes(batch, c).subarray(0, left);
    left -= piece.length;
    take(piece);
  }
}

/** A write may have taken less than it was given. */
function moved(batch: EventBatch, i: number, piece: Uint8Array): Uint8Array {
  const count = resultOf(batch, i);
  return count < piece.length ? piece.subarray(0, count) : piece;
}

function resultOf(batch: EventBatch, i: number): number {
  if (((batch.flags[i] as number) & NOT_OK) !== 0) return 0;
  const high = batch.ret[2 * i + 1] as number;
  return high < 0 ? 0 : high * 0x1_0000_0000 + ((batch.ret[2 * i] as number) >>> 0);
}

/**
 * Where the list of buffers stands, and of a message its header, name and control data too. Of the header, what is in front of
 * the flags has to be there.
 */
function listsOf(batch: EventBatch, i: number, data: NonNullable<Plan["data"]>): number[] {
  const own = addressOf(batch.args, 6 * i + data.slot);
  if (data.shape !== "msghdr") return [own];
  const word = batch.arch[i] === 1 ? 4 : 8;
  const at = messageOffsets(word);
  const end = batch.capStart[i + 1] as number;
  for (let c = batch.capStart[i] as number; c < end; c++) {
    if (batch.capSlot[c] !== data.slot || addressOf(batch.capAddr, c) !== own) continue;
    const header = captureBytes(batch, c);
    if (header.length < at.flags) continue;
    return [own, ...[at.name, at.iov, at.control].map((from) => Number(uword(header, from, word)))];
  }
  return [own];
}

/** A 64-bit value as it stands in pairs of words. */
function addressOf(words: Uint32Array, pair: number): number {
  return (words[2 * pair + 1] as number) * 0x1_0000_0000 + (words[2 * pair] as number);
}
