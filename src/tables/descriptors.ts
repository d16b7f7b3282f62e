/**
 * The descriptors of every process, followed through dup, fork, exec, close, and descriptors that are passed over sockets.
 * One that was inherited from outside the trace is known from its first use on.
 */

import type { CallFacts } from "../query/facts.js";
import { type EventBatch, EventFlag, EventKind, Slot } from "../trace/batch.js";
import type { Trace } from "../trace/trace.js";
import { opensForExec } from "./cloexec.js";

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

const F_SETFD = 2;
const FIOCLEX = 0x5451;
const FIONCLEX = 0x5450;

/** What is told of open file descriptions, by their index in `trace.objects`. */
export interface Holding {
  /** A descriptor stands for the object that did not before. */
  held(object: number): void;
  /** With event `i`, the last descriptor that stood for the object is closed. */
  released(object: number, batch: EventBatch, i: number): void;
}

export class Descriptors {
  /** How many descriptors stand for each object now. */
  readonly #holders: Int32Array;
  readonly #trace: Trace;
  readonly #facts: CallFacts;
  readonly #holding: Holding | undefined;
  readonly #tables = new Map<number, FdTable>();

  constructor(trace: Trace, facts: CallFacts, holding?: Holding) {
    this.#holders = new Int32Array(trace.objects.length);
    this.#trace = trace;
    this.#facts = facts;
    this.#holding = holding;
  }

  /** How many descriptors the process has, as far as they are known. */
  count(process: number): number {
    const objects = this.#tables.get(process)?.objects;
    // What an event refers to without a descriptor stands at -1.
    return objects === undefined ? 0 : objects.size - (objects.has(-1) ? 1 : 0);
  }

  /** All events have to be given, in their order. */
  event(batch: EventBatch, i: number): void {
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
    const parent = this.#trace.threads[(batch.args[12 * i] ?? 0) - 1]?.process;
    if (parent === undefined || parent === process) return;
    const table = this.#table(parent);
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
    this.#holding?.released(object, batch, i);
  }

  /** A descriptor stands for an object, whatever it stood for before. */
  #set(table: FdTable, fd: number, object: number, batch: EventBatch, i: number): boolean {
    const before = table.objects.get(fd);
    if (before === object) return false;
    table.objects.set(fd, object);
    table.closing.delete(fd);
    this.#hold(object, 1);
    this.#holding?.held(object);
    if (before !== undefined) this.#release(before, batch, i);
    return true;
  }

  #call(batch: EventBatch, i: number, process: number): void {
    const end = batch.refStart[i + 1] ?? 0;
    const shape = this.#facts.shape(batch, i);
    if (shape?.name === "close" && this.#isOutlived(batch, i, process)) return;
    let table: FdTable | undefined;
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      const slot = batch.refSlot[r] ?? 0;
      if (slot === Slot.Cwd) continue;
      const fd = batch.refFd[r] ?? -1;
      table ??= this.#table(process);
      const isNew = this.#set(table, fd, batch.refObject[r] ?? 0, batch, i);
      const made = isNew && (slot === Slot.Ret || slot === Slot.Nested);
      if (made && shape !== undefined && opensForExec(shape.name, batch, i)) table.closing.add(fd);
    }
    if (shape !== undefined) this.#change(batch, i, shape.name, process);
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

  /**
   * Whether another thread had got the number again, and that has been told, before close(2) ended:
   * what it closed has gone already.
   */
  #isOutlived(batch: EventBatch, i: number, process: number): boolean {
    if (batch.refStart[i] === batch.refStart[i + 1]) return false;
    const known = this.#table(process).objects.get(argument(batch, i, 0));
    return known !== undefined && known !== batch.refObject[batch.refStart[i] ?? 0];
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

/** Low word of an argument, as a C int. */
function argument(batch: EventBatch, i: number, k: number): number {
  return (batch.args[12 * i + 2 * k] ?? 0) | 0;
}
