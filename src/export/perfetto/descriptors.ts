/**
 * How many descriptors each process has open, as far as the trace knows: one that was inherited from outside counts from its
 * first use on.
 */

import type { CallFacts } from "../../query/facts.js";
import { opensForExec } from "../../tables/cloexec.js";
import { type EventBatch, EventKind, Slot } from "../../trace/batch.js";
import type { Trace } from "../../trace/trace.js";

/** `CLONE_FILES` of linux/sched.h: the table is shared. */
const CLONE_FILES = 0x400;
const CLOSE_RANGE = { unshare: 2, cloexec: 4 } as const;
const F = { DUPFD: 0, SETFD: 2, DUPFD_CLOEXEC: 1030 } as const;

/** Calls that put new descriptors into memory. */
const MAKES_NESTED: ReadonlySet<string> = new Set([
  ...["pipe", "pipe2", "socketpair", "recvmsg", "recvmmsg"],
]);

/** Open descriptors, and whether exec closes them. */
type Table = Map<number, boolean>;

export class OpenDescriptors {
  readonly #trace: Trace;
  readonly #facts: CallFacts;
  readonly #tables = new Map<number, Table>();

  constructor(trace: Trace, facts: CallFacts) {
    this.#trace = trace;
    this.#facts = facts;
  }

  #table(process: number): Table {
    let table = this.#tables.get(process);
    if (table === undefined) {
      table = new Map();
      this.#tables.set(process, table);
    }
    return table;
  }

  /** How many the process has open after event `i`. */
  after(batch: EventBatch, i: number, process: number): number {
    switch (batch.kind[i]) {
      case EventKind.Task:
        this.#task(batch, i, process);
        break;
      case EventKind.Exec:
        this.#exec(process);
        break;
      case EventKind.Exit:
        if (batch.args[12 * i] === 1) this.#tables.delete(process);
        return this.#tables.get(process)?.size ?? 0;
      case EventKind.Call:
        this.#call(batch, i, process);
    }
    return this.#table(process).size;
  }

  #task(batch: EventBatch, i: number, process: number): void {
    const parent = this.#trace.threads[(batch.args[12 * i] ?? 0) - 1]?.process;
    if (parent === undefined || parent === process) return;
    const inherited = this.#table(parent);
    const shared = ((batch.args[12 * i + 2] ?? 0) & CLONE_FILES) !== 0;
    this.#tables.set(process, shared ? inherited : new Map(inherited));
  }

  #exec(process: number): void {
    const table = new Map(this.#table(process));
    for (const [fd, closes] of table) if (closes) table.delete(fd);
    this.#tables.set(process, table);
  }

  #call(batch: EventBatch, i: number, process: number): void {
    const shape = this.#facts.shape(batch, i);
    if (shape === undefined || !this.#facts.succeeded(batch, i)) return;
    const { name } = shape;
    const arg = (k: number) => (batch.args[12 * i + 2 * k] ?? 0) >>> 0;
    const table = this.#table(process);
    if (name === "close") {
      table.delete(arg(0));
      return;
    }
    if (name === "close_range") {
      this.#closeRange(process, arg(0), arg(1), arg(2));
      return;
    }
    const closes = opensForExec(name, batch, i);
    const end = Math.min(batch.refStart[i + 1] ?? 0, batch.refSlot.length);
    for (let r = batch.refStart[i] ?? 0; r < end; r++) {
      const slot = batch.refSlot[r];
      const fd = batch.refFd[r] ?? -1;
      if (fd < 0 || slot === Slot.Cwd) continue;
      const isNew = slot === Slot.Ret || (slot === Slot.Nested && MAKES_NESTED.has(name));
      if (isNew) table.set(fd, closes);
      else if (!table.has(fd)) table.set(fd, false);
    }
    if (name.startsWith("fcntl")) control(table, arg(0), arg(1), arg(2), batch, i);
  }

  #closeRange(process: number, first: number, last: number, flags: number): void {
    let table = this.#table(process);
    if ((flags & CLOSE_RANGE.unshare) !== 0) {
      table = new Map(table);
      this.#tables.set(process, table);
    }
    for (const fd of [...table.keys()]) {
      if (fd < first || fd > last) continue;
      if ((flags & CLOSE_RANGE.cloexec) !== 0) table.set(fd, true);
      else table.delete(fd);
    }
  }
}

function control(
  table: Table,
  fd: number,
  command: number,
  argument: number,
  batch: EventBatch,
  i: number,
): void {
  if (command === F.SETFD) table.set(fd, (argument & 1) !== 0);
  else if (command === F.DUPFD || command === F.DUPFD_CLOEXEC) {
    table.set(batch.ret[2 * i] ?? -1, command === F.DUPFD_CLOEXEC);
  }
}
