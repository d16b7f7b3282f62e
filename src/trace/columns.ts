/**
 * Which columns of a block are read, and parts of blocks. Nothing is copied: a part of a batch is a
 * set of views into the arrays of the whole.
 */

import type { ColumnGroup, Digests, EventBatch } from "./batch.js";

export const ALL_COLUMNS: readonly ColumnGroup[] = ["base", "args", "place", "captures", "refs"];

/** What showing a call needs: everything but the instruction and stack pointers. */
export const CALL_COLUMNS: readonly ColumnGroup[] = ["base", "args", "captures", "refs"];

/** As `projection` of native/src/reader.rs reads them. */
const bits: Readonly<Record<ColumnGroup, number>> = {
  core: 0,
  base: 16,
  results: 64,
  args: 1,
  place: 2,
  captures: 4,
  contents: 32,
  refs: 8,
};

export function columnBits(groups: readonly ColumnGroup[]): number {
  return groups.reduce((sum, group) => sum | bits[group], 0);
}

/** Rows `from` (included) to `to` (excluded) of a batch. Captures and references keep their places. */
export function sliceBatch(batch: EventBatch, from: number, to: number): EventBatch {
  if (from <= 0 && to >= batch.count) return batch;
  return {
    count: to - from,
    firstSeq: batch.firstSeq + from,
    ...(batch.seqs === undefined ? {} : { seqs: batch.seqs.subarray(from, to) }),
    kind: batch.kind.subarray(from, to),
    flags: batch.flags.subarray(from, to),
    arch: batch.arch.subarray(from, to),
    code: batch.code.subarray(from, to),
    thread: batch.thread.subarray(from, to),
    start: batch.start.subarray(from, to),
    duration: batch.duration.subarray(from, to),
    span: batch.span.subarray(from, to),
    ret: batch.ret.subarray(2 * from, 2 * to),
    args: batch.args.subarray(12 * from, 12 * to),
    ip: batch.ip.subarray(2 * from, 2 * to),
    sp: batch.sp.subarray(2 * from, 2 * to),
    capStart: batch.capStart.subarray(from, to + 1),
    capSlot: batch.capSlot,
    capSide: batch.capSide,
    capStatus: batch.capStatus,
    capAddr: batch.capAddr,
    capWanted: batch.capWanted,
    capContent: batch.capContent,
    contentStart: batch.contentStart,
    bytes: batch.bytes,
    refStart: batch.refStart.subarray(from, to + 1),
    refSlot: batch.refSlot,
    refFd: batch.refFd,
    refObject: batch.refObject,
    ...(batch.digests === undefined ? {} : { digests: sliceDigests(batch.digests, from, to) }),
  };
}

function sliceDigests({ content, movedLength, moved }: Digests, from: number, to: number): Digests {
  return {
    content,
    movedLength: movedLength.subarray(from, to),
    moved: moved.subarray(2 * from, 2 * to),
  };
}
