/**
 * The lives of open file descriptions: when each was made and closed, and what went through it. Followed through the
 * descriptors of every process: dup, fork, exec, close, and descriptors that are passed over sockets.
 */

import { CallFacts } from "../query/facts.js";
import { type EventBatch, EventFlag, EventKind, Slot } from "../trace/batch.js";
import { CALL_COLUMNS } from "../trace/columns.js";
import type { Trace } from "../trace/trace.js";
import { opensForExec } from "./cloexec.js";
import { transferOf } from "./transfer.js";

/** The descriptors of one process, or of several that share them (CLONE_FILES). */
interface FdTable {
  readonly objects: Map<number, number>;
  /** Descriptors that an exec closes. */
  readonly closing: Set<number>;
  users: number;
}

const CLONE_FILES = 0x400;
const CLOSE_RANGE_UNSHARE = 2;
const CLOSE_RANGE_CLOEXEC = 4;

/** Numbers per open file description, by its index in `trace.objects`. Times in nanoseconds, NaN where there is none. */
export class Lives {
  readonly count: number;
  /** First event that mentions it, -1 for none; its thread and descriptor number. */
  readonly firstSeq: Float64Array;
  readonly firstThread: Int32Array;
  readonly firstFd: Int32Array;
  readonly opened: Float64Array;
  readonly closed: Float64Array;
  readonly closedBy: Float64Array;
  readonly calls: Float64Array;
  readonly reads: Float64Array;
  readonly writes: Float64Array;
  readonly bytesRead: Float64Array;
  readonly bytesWritten: Float64Array;
  /** How many descriptors stand for it now. */
  readonly #holders: Int32Array;
  readonly #trace: Trace;
  readonly #facts: CallFacts;
  readonly #tables = new Map<number, FdTable>();

  private constructor(trace: Trace) {
    const count = trace.objects.length;
    const numbers = () => new Float64Array(count);
    this.count = count;
    this.firstSeq = numbers().fill(-1);
    this.firstThread = new Int32Array(count).fill(-1);
    this.firstFd = new Int32Array(count).fill(-1);
    this.opened = numbers().fill(Number.NaN);
    this.closed = numbers().fill(Number.NaN);
    this.closedBy = numbers();
    [this.calls, this.reads, this.writes] = [numbers(), numbers(), numbers()];
    [this.bytesRead, this.bytesWritten] = [numbers(), numbers()];
    this.#holders = new Int32Array(count);
    this.#trace = trace;
    this.#facts = new CallFacts(trace);
  }

  /** `also` sees every call in its order, after it was accounted for. A damaged block ends the lives with an error. */
  static async read(
    trace: Trace,
    also?: (batch: EventBatch, i: number) => void,
  ): Promise<{ readonly lives: Lives; readonly failure: unknown }> {
    const lives = new Lives(trace);
    try {
      for await (const batch of trace.batches({ columns: CALL_COLUMNS })) {
        for (let i = 0; i < batch.count; i++) {
          lives.#event(batch, i);
          if (also !== undefined && batch.kind[i] === EventKind.Call) also(batch, i);
        }
      }
    } catch (failure) {
      return { lives, failure };
    }
    return { lives, failure: undefined };
  }

  #event(batch: EventBatch, i: number): void {
    const process = this.#trace.threads[batch.thread[i] ?? -1]?.process ?? 0;
    switch (batch.kind[i]) {
      case EventKind.Call:
        this.#call(batch, i, process);
        break;
      case EventKind.Task:
        this.#task(batch, i, process);
        break;
      case EventKind.Exec:
        this.#exec(batch, i, process);
        break;
      case EventKind.Exit:
        if (batch.args[12 * i] === 1) this.#leave(process, batch, i);
        break;
      default:
    }
  }

  #table(process: number): FdTable {
    let table = this.#tables.get(process);
    if (table === undefined) {
      table = { objects: new Map(), closing: new Set(), users: 1 };
      this.#tables.set(process, table);
    }
    return table;
  }

  #task(batch: EventBatch, i: number, process: number): void {
    const parent = this.#trace.threads[(batch.args[12 * i] ?? 0) - 1]?.process ?? 0;
    const table = this.#tables.get(parent);
    if (parent === process || table === undefined) return;
    if (((batch.args[12 * i + 2] ?? 0) & CLONE_FILES) !== 0) {
      table.users += 1;
      this.#tables.set(process, table);
    } else {
      this.#tables.set(process, this.#copy(table));
    }
  }

  #copy(table: FdTable): FdTable {
    for (const object of table.objects.values()) this.#hold(object, 1);
    return { objects: new Map(table.objects), closing: new Set(table.closing), users: 1 };
  }

  #hold(object: number, change: number): void {
    this.#holders[object] = (this.#holders[object] ?? 0) + change;
  }

  /** The process has a table of its own from now on. */
  #unshare(process: number): FdTable {
    const table = this.#table(process);
    if (table.users <= 1) return table;
    table.users -= 1;
    const own = this.#copy(table);
    this.#tables.set(process, own);
    return own;
  }

  #exec(batch: EventBatch, i: number, process: number): void {
    const table = this.#unshare(process);
    for (const fd of table.closing) this.#close(table, fd, batch, i);
    table.closing.clear();
  }

  #leave(process: number, batch: EventBatch, i: number): void {
    const table = this.#tables.get(process);
    if (table === undefined) return;
    this.#tables.delete(process);
    table.users -= 1;
    if (table.users > 0) return;
    for (const fd of [...table.objects.keys()]) this.#close(table, fd, batch, i);
  }

  #close(table: FdTable, fd: number, batch: EventBatch, i: number): void {
    const object = table.objects.get(fd);
    if (object === undefined) return;
    table.objects.delete(fd);
    this.#release(object, batch, i);
  }

  #release(object: number, batch: EventBatch, i: number): void {
    this.#hold(object, -1);
    if ((this.#holders[object] ?? 0) > 0) return;
    this.closed[object] = endOf(batch, i);
    this.closedBy[object] = batch.firstSeq + i;
  }

  /** A descriptor stands for an object, whatever it stood for before. */
  #set(table: FdTable, fd: number, object: number, batch: EventBatch, i: number): boolean {
    const before = table.objects.get(fd);
    if (before === object) return false;
    table.objects.set(fd, object);
    table.closing.delete(fd);
    this.#hold(object, 1);
    this.closed[object] = Number.NaN;
    if (before !== undefined) this.#release(before, batch, i);
    return true;
  }

  #call(batch: EventBatch, i: number, process: number): void {
    const end = batch.refStart[i + 1] ?? 0;
    const shape = this.#facts.shape(batch, i);
    let table: FdTable | undefined;
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      const slot = batch.refSlot[r] ?? 0;
      const object = batch.refObject[r] ?? 0;
      if (slot === Slot.Cwd) continue;
      const fd = batch.refFd[r] ?? -1;
      if (this.firstSeq[object] === -1) this.#meet(batch, i, object, fd);
      this.#count(object, batch, i);
      table ??= this.#table(process);
      const isNew = this.#set(table, fd, object, batch, i);
      const made = isNew && (slot === Slot.Ret || slot === Slot.Nested);
      if (made && shape !== undefined && opensForExec(shape.name, batch, i)) table.closing.add(fd);
    }
    if (shape === undefined) return;
    this.#account(batch, i, shape);
    this.#change(batch, i, shape.name, process);
  }

  #meet(batch: EventBatch, i: number, object: number, fd: number): void {
    const seq = batch.firstSeq + i;
    this.firstSeq[object] = seq;
    this.firstThread[object] = batch.thread[i] ?? -1;
    this.firstFd[object] = fd;
    if (this.#trace.objects[object]?.createdBy === seq) this.opened[object] = endOf(batch, i);
  }

  /** Parts of a call that the kernel restarted count once, with the whole. A call that names an object twice, too. */
  #count(object: number, batch: EventBatch, i: number): void {
    if (((batch.flags[i] ?? 0) & EventFlag.Interrupted) !== 0) return;
    if (this.#lastCounted === object && this.#lastSeq === batch.firstSeq + i) return;
    this.#lastCounted = object;
    this.#lastSeq = batch.firstSeq + i;
    this.calls[object] = (this.calls[object] ?? 0) + 1;
  }

  #lastCounted = -1;
  #lastSeq = -1;

  #account(batch: EventBatch, i: number, shape: Parameters<typeof transferOf>[0]): void {
    const { from, to } = transferOf(shape);
    if (from < 0 && to < 0) return;
    const bytes = this.#facts.bytes(batch, i);
    if (bytes === undefined) return;
    const end = batch.refStart[i + 1] ?? 0;
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      const object = batch.refObject[r] ?? 0;
      if (batch.refSlot[r] === from) {
        this.reads[object] = (this.reads[object] ?? 0) + 1;
        this.bytesRead[object] = (this.bytesRead[object] ?? 0) + bytes;
      } else if (batch.refSlot[r] === to) {
        this.writes[object] = (this.writes[object] ?? 0) + 1;
        this.bytesWritten[object] = (this.bytesWritten[object] ?? 0) + bytes;
      }
    }
  }

  /** Calls that change which descriptors there are. */
  #change(batch: EventBatch, i: number, name: string, process: number): void {
    switch (name) {
      case "close":
        // The number is free whatever close reports, but not when it was none.
        if (!this.#isUnseen(batch, i))
          this.#close(this.#table(process), argument(batch, i, 0), batch, i);
        break;
      case "close_range":
        if (this.#facts.succeeded(batch, i)) this.#closeRange(batch, i, process);
        break;
      case "unshare":
        if (this.#facts.succeeded(batch, i) && (argument(batch, i, 0) & CLONE_FILES) !== 0) {
          this.#unshare(process);
        }
        break;
      case "fcntl":
      case "fcntl64":
      case "ioctl":
        if (this.#facts.succeeded(batch, i)) this.#mark(batch, i, name, process);
        break;
      default:
    }
  }

  #isUnseen(batch: EventBatch, i: number): boolean {
    return ((batch.flags[i] ?? 0) & EventFlag.NoReturn) !== 0;
  }

  #closeRange(batch: EventBatch, i: number, process: number): void {
    const [first, last, flags] = [0, 1, 2].map((k) => argument(batch, i, k) >>> 0);
    const unshares = ((flags ?? 0) & CLOSE_RANGE_UNSHARE) !== 0;
    const table = unshares ? this.#unshare(process) : this.#table(process);
    for (const fd of [...table.objects.keys()]) {
      if (fd < (first ?? 0) || fd > (last ?? 0)) continue;
      if (((flags ?? 0) & CLOSE_RANGE_CLOEXEC) !== 0) table.closing.add(fd);
      else this.#close(table, fd, batch, i);
    }
  }

  /** FD_CLOEXEC by fcntl or ioctl. */
  #mark(batch: EventBatch, i: number, name: string, process: number): void {
    const [fd = -1, command, value = 0] = [0, 1, 2].map((k) => argument(batch, i, k));
    const sets = name === "ioctl" ? command === FIOCLEX : command === F_SETFD && (value & 1) === 1;
    const clears =
      name === "ioctl" ? command === FIONCLEX : command === F_SETFD && (value & 1) === 0;
    if (sets) this.#table(process).closing.add(fd);
    if (clears) this.#table(process).closing.delete(fd);
  }
}

const F_SETFD = 2;
const FIOCLEX = 0x5451;
const FIONCLEX = 0x5450;

/** Low word of an argument, as a C int. */
function argument(batch: EventBatch, i: number, k: number): number {
  return (batch.args[12 * i + 2 * k] ?? 0) | 0;
}

function endOf(batch: EventBatch, i: number): number {
  return (batch.start[i] ?? 0) + (batch.duration[i] ?? 0);
}
