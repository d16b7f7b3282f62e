/**
 * The memory of a tracee as one event's captures show it: bytes found by address and side.
 *
 * Captures may overlap, touch, or be missing; nothing here trusts them. Every read is bounded by what was captured.
 */

import { CaptureSide, CaptureStatus, type EventBatch, NO_CONTENT } from "../trace/batch.js";
import type { Num } from "./value.js";

const EMPTY = new Uint8Array(0);

/** A NUL-terminated string in tracee memory. */
export interface CString {
  /** Without the NUL. */
  readonly bytes: Uint8Array;
  /** False when the recording ends before the NUL. */
  readonly terminated: boolean;
  /** True when the memory itself ended before the NUL. */
  readonly faulted: boolean;
}

/** Bytes of capture `c`; empty when it has none or the batch is damaged. */
export function captureBytes(batch: EventBatch, c: number): Uint8Array {
  const content = batch.capContent[c];
  if (content === undefined || content === NO_CONTENT) return EMPTY;
  const start = batch.contentStart[content];
  const end = batch.contentStart[content + 1];
  if (start === undefined || end === undefined || start >= end) return EMPTY;
  return batch.bytes.subarray(start, end);
}

/** First capture of event `i` in that slot and side, or -1. */
export function findCapture(batch: EventBatch, i: number, slot: number, side: number): number {
  const end = captureEnd(batch, i);
  for (let c = batch.capStart[i] ?? 0; c < end; c++) {
    if (batch.capSlot[c] === slot && batch.capSide[c] === side) return c;
  }
  return -1;
}

function captureEnd(batch: EventBatch, i: number): number {
  return Math.min(batch.capStart[i + 1] ?? 0, batch.capSlot.length);
}

export class Memory {
  readonly #batch: EventBatch;
  readonly #start: number;
  readonly #end: number;

  constructor(batch: EventBatch, i: number) {
    this.#batch = batch;
    this.#start = batch.capStart[i] ?? 0;
    this.#end = captureEnd(batch, i);
  }

  /** True when the event has any capture of that side. */
  has(side: number): boolean {
    for (let c = this.#start; c < this.#end; c++) if (this.#batch.capSide[c] === side) return true;
    return false;
  }

  /** Bytes and full length of the capture of argument `slot`, when there is one. */
  slot(slot: number, side: number): { bytes: Uint8Array; wanted: number } | undefined {
    for (let c = this.#start; c < this.#end; c++) {
      if (this.#batch.capSlot[c] !== slot || this.#batch.capSide[c] !== side) continue;
      if (this.#batch.capStatus[c] === CaptureStatus.Omitted) continue;
      const bytes = captureBytes(this.#batch, c);
      return { bytes, wanted: Math.max(bytes.length, this.#batch.capWanted[c] ?? 0) };
    }
    return undefined;
  }

  /**
   * Up to `length` bytes at `addr`, fewer when the recording ends before; undefined when it holds none of them. A read
   * of 0 bytes succeeds at any address.
   */
  read(addr: Num, length: number, side: number = CaptureSide.In): Uint8Array | undefined {
    if (length <= 0) return EMPTY;
    if (typeof addr === "bigint" || addr <= 0) return undefined;
    const first = this.#at(addr, side);
    if (first === undefined) return undefined;
    if (first.length >= length) return first.length === length ? first : first.subarray(0, length);
    return this.#join(addr, first, length, side);
  }

  /** As {@link read}, at exit; where exit was not captured, what was there at entry. */
  readAfter(addr: Num, length: number): Uint8Array | undefined {
    return this.read(addr, length, CaptureSide.Out) ?? this.read(addr, length, CaptureSide.In);
  }

  /** Exactly `length` bytes, or undefined. */
  readAll(addr: Num, length: number, side: number = CaptureSide.In): Uint8Array | undefined {
    const found = this.read(addr, length, side);
    return found !== undefined && found.length === length ? found : undefined;
  }

  cstring(addr: Num, side: number = CaptureSide.In): CString | undefined {
    if (typeof addr === "bigint" || addr <= 0) return undefined;
    const found = this.#at(addr, side);
    if (found === undefined) return undefined;
    const nul = found.indexOf(0);
    if (nul >= 0) return { bytes: found.subarray(0, nul), terminated: true, faulted: false };
    const terminated = this.#statusAt(addr, side, CaptureStatus.Whole);
    const faulted = !terminated && this.#statusAt(addr, side, CaptureStatus.Unreadable);
    return { bytes: found, terminated, faulted };
  }

  /** What one capture holds from `addr` on; the longest, when several do. */
  #at(addr: number, side: number): Uint8Array | undefined {
    let best: Uint8Array | undefined;
    for (let c = this.#start; c < this.#end; c++) {
      if (this.#batch.capSide[c] !== side) continue;
      const offset = addr - this.#address(c);
      if (offset < 0) continue;
      const found = captureBytes(this.#batch, c);
      if (offset >= found.length) continue;
      if (best === undefined || found.length - offset > best.length) best = found.subarray(offset);
    }
    return best;
  }

  /** True when a capture that begins at that address has that status. */
  #statusAt(addr: number, side: number, status: number): boolean {
    for (let c = this.#start; c < this.#end; c++) {
      if (this.#batch.capSide[c] !== side || this.#address(c) !== addr) continue;
      if (this.#batch.capStatus[c] === status) return true;
    }
    return false;
  }

  #address(c: number): number {
    const low = this.#batch.capAddr[2 * c] ?? 0;
    const high = this.#batch.capAddr[2 * c + 1] ?? 0;
    return high * 0x1_0000_0000 + low;
  }

  #join(addr: number, first: Uint8Array, length: number, side: number): Uint8Array {
    const parts = [first];
    let have = first.length;
    while (have < length && Number.isSafeInteger(addr + have)) {
      const next = this.#at(addr + have, side);
      if (next === undefined) break;
      parts.push(next);
      have += next.length;
    }
    if (parts.length === 1) return first;
    const joined = new Uint8Array(Math.min(have, length));
    let at = 0;
    for (const part of parts) {
      const piece = part.subarray(0, joined.length - at);
      joined.set(piece, at);
      at += piece.length;
    }
    return joined;
  }
}

/** Reads little-endian numbers out of bytes; undefined beyond their end. */
export function u8(data: Uint8Array, at: number): number | undefined {
  return data[at];
}

export function u16(data: Uint8Array, at: number): number | undefined {
  const high = data[at + 1];
  return high === undefined ? undefined : (data[at] ?? 0) | (high << 8);
}

export function u16be(data: Uint8Array, at: number): number | undefined {
  const low = data[at + 1];
  return low === undefined ? undefined : ((data[at] ?? 0) << 8) | low;
}

export function u32(data: Uint8Array, at: number): number | undefined {
  const high = data[at + 3];
  if (high === undefined || at < 0) return undefined;
  return (
    ((data[at] ?? 0) | ((data[at + 1] ?? 0) << 8) | ((data[at + 2] ?? 0) << 16) | (high << 24)) >>>
    0
  );
}

export function i32(data: Uint8Array, at: number): number | undefined {
  const value = u32(data, at);
  return value === undefined ? undefined : value | 0;
}

export function u64(data: Uint8Array, at: number): Num | undefined {
  const low = u32(data, at);
  const high = u32(data, at + 4);
  if (low === undefined || high === undefined) return undefined;
  if (high <= 0x1f_ffff) return high * 0x1_0000_0000 + low;
  return (BigInt(high) << 32n) | BigInt(low);
}

/** A pointer or `long` of `word` bytes, unsigned. */
export function uword(data: Uint8Array, at: number, word: number): Num | undefined {
  return word === 4 ? u32(data, at) : u64(data, at);
}
