/**
 * One call on its way to a canonical event: the steps of its plan feed a hash, and settle which object or name it is about. The same
 * object serves for one call after the other.
 */

import { decodeCall } from "../../decode/call.js";
import { known } from "../../decode/flags.js";
import { fcntlArgument } from "../../decode/irregular/fcntl.js";
import { addressText } from "../../query/facts.js";
import { CaptureSide, type DigestedBatch, NO_CONTENT } from "../../trace/batch.js";
import type { Trace } from "../../trace/trace.js";
import type { RuleSet } from "../rules.js";
import { isUntil } from "./aside.js";
import { HashIndex } from "./columns.js";
import { Hasher } from "./hash.js";
import { type Names, NO_NAME } from "./names.js";
import { ITSELF, PathJoiner } from "./paths.js";
import { captureAt } from "./pieces.js";
import { Op, type Plan, type Step } from "./plan.js";
import { chosenPort } from "./ports.js";
import { Special, SpecialObjects } from "./special.js";
import { feedArguments } from "./value.js";

const ABSENT = 0x5f5f;
const O_CREAT = known("open_flags", "O_CREAT");
const O_TMPFILE = 0o20000000;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
/** Numbers of inodes that are kept. */
const MOST_INODES = 1 << 20;

// An imported table is looked up through a getter wherever it is used, once for every event.
const { In: IN, Out: OUT } = CaptureSide;
const NONE = NO_CONTENT;

/** What the third argument of fcntl is, by command: nothing, a number, or what decoding says. */
const Control = { None: 0, Number: 1, Other: 2 } as const;

const CONTROLS = Uint8Array.from({ length: 1100 }, (_, command) => {
  const kind = fcntlArgument(command);
  if (kind === "none") return Control.None;
  return kind === "number" ? Control.Number : Control.Other;
});

export class CanonicalCall {
  readonly hash = new Hasher();
  name = NO_NAME;
  /** Of a call with the address of a socket at a path: that path. */
  socketPath = NO_NAME;
  /** The object of its first descriptor, or -1, and what is special about it. */
  object = -1;
  kind: number = Special.None;
  /** Threads by the ids that they have for the programs. */
  readonly threads = new HashIndex();
  /** Numbers of the inodes that programs were told, their low 32 bits. */
  readonly inodes = new Set<number>();
  /** Ports of addresses that the kernel told, and that it may have chosen. */
  readonly ports = new Set<string>();
  /** Processes that use each pipe: the number, or -1 for several. */
  readonly pipeUsers = new Map<number, number>();
  readonly #trace: Trace;
  readonly #names: Names;
  readonly #rules: RuleSet;
  readonly #special: SpecialObjects;
  readonly #join: PathJoiner;

  constructor(trace: Trace, names: Names, rules: RuleSet) {
    this.#trace = trace;
    this.#names = names;
    this.#rules = rules;
    this.#special = new SpecialObjects(trace, names);
    this.#join = new PathJoiner(trace, names);
  }

  /** Begins with a call of that verb. */
  reset(verbHash: number): this {
    this.hash.reset().number(verbHash);
    this.name = NO_NAME;
    this.socketPath = NO_NAME;
    this.object = -1;
    this.kind = Special.None;
    return this;
  }

  /** Looks at all that tells the call from others, but for the bytes that it moves. */
  take(plan: Plan, batch: DigestedBatch, i: number, succeeded: boolean): void {
    for (let s = 0; s < plan.steps.length; s++) {
      const step = plan.steps[s] as Step;
      if (step.op === Op.Data) continue;
      if (step.out && !succeeded) continue;
      this.#step(step, plan, batch, i);
    }
  }

  #step(step: Step, plan: Plan, batch: DigestedBatch, i: number): void {
    const hasher = this.hash;
    const { op, k } = step;
    const at = 12 * i + 2 * k;
    switch (op) {
      case Op.Path: {
        const name = this.#join.path(batch, i, k, step.base);
        if (name === ITSELF) this.#descriptor(batch, i, step.base);
        else this.name = this.#names.pair(this.name, name);
        return;
      }
      case Op.Descriptor:
        this.#descriptor(batch, i, k);
        return;
      case Op.Process:
        this.#pid((batch.args[at] as number) | 0);
        return;
      case Op.Word:
        hasher.word(batch.args[at] as number);
        return;
      case Op.Clock: {
        // Clocks of a process or thread are made of its id.
        const isOwn = ((batch.args[at] as number) | 0) < 0 && this.#rules.has("pids");
        hasher.word(isOwn ? ABSENT : (batch.args[at] as number));
        return;
      }
      case Op.Long:
        hasher.word(batch.args[at] as number).word(batch.args[at + 1] as number);
        return;
      case Op.NotZero:
        if (batch.args[at] !== 0) hasher.word(batch.args[at] as number);
        return;
      case Op.Constant:
        hasher.word(k);
        return;
      case Op.LinkBit:
        hasher.word((batch.args[at] as number) & 0x100);
        return;
      case Op.Mode: {
        const flags = batch.args[at - 2] as number;
        if ((flags & (O_CREAT | O_TMPFILE)) !== 0) hasher.word(batch.args[at] as number);
        return;
      }
      case Op.Control: {
        const kind = CONTROLS[batch.args[12 * i + 2] as number];
        if (kind === Control.Number) hasher.word(batch.args[at] as number);
        if (kind === Control.Number || kind === Control.None) return;
        const call = decodeCall(batch, i, this.#trace);
        feedArguments(hasher, plan.call, call.args, this.#rules);
        return;
      }
      case Op.Decode: {
        const call = decodeCall(batch, i, this.#trace);
        feedArguments(hasher, plan.call, call.args, this.#rules);
        return;
      }
      default:
        this.#memory(step, plan, batch, i);
    }
  }

  /** Steps that look at what an argument points to. */
  #memory(step: Step, plan: Plan, batch: DigestedBatch, i: number): void {
    const hasher = this.hash;
    const capture = captureAt(batch, i, step.k, step.out ? OUT : IN);
    if (capture < 0) {
      hasher.word(ABSENT);
      return;
    }
    const content = batch.capContent[capture] as number;
    const isThere = content !== NONE;
    const from = isThere ? (batch.contentStart[content] as number) : 0;
    const to = isThere ? (batch.contentStart[content + 1] as number) : 0;
    switch (step.op) {
      case Op.Status:
        this.#status(step, batch.bytes, from, to);
        return;
      case Op.Text: {
        const nul = batch.bytes.subarray(from, to).indexOf(0);
        hasher.bytes(batch.bytes, from, nul < 0 ? to : from + nul);
        return;
      }
      case Op.Address:
        this.#address(batch.bytes.subarray(from, to), step.out);
        return;
      case Op.Struct:
        for (let p = 0; p + 1 < step.parts.length; p += 2) {
          const start = from + (step.parts[p] as number);
          hasher.bytes(batch.bytes, start, Math.min(to, start + (step.parts[p + 1] as number)));
        }
        return;
      default:
        // A point in time at which a sleep ends is another one in each run.
        if (isUntil(plan, batch, i) && this.#rules.has("times")) return;
        hasher.bytes(batch.bytes, from, to);
    }
  }

  /** Mode, owner and size; no size of directories, kernel files, and streams that were there before. */
  #status({ parts, inode }: Step, data: Uint8Array, start: number, end: number): void {
    const hasher = this.hash;
    if (inode >= 0 && start + inode + 4 <= end && this.inodes.size < MOST_INODES) {
      this.inodes.add(wordAt(data, start + inode));
    }
    const last = parts.length - 2;
    let mode = 0;
    for (let p = 0; p <= last; p += 2) {
      const from = start + (parts[p] as number);
      const size = parts[p + 1] as number;
      if (from + size > end) return;
      const low = (data[from] as number) | ((data[from + 1] as number) << 8);
      if (p === 0) mode = low;
      if (p === last && ((mode & S_IFMT) === S_IFDIR || !this.#hasSize())) return;
      // Widths differ between stat and statx: the same numbers are the same words.
      const high = size > 2 ? (data[from + 2] as number) | ((data[from + 3] as number) << 8) : 0;
      hasher.word(low | (high << 16));
      if (size === 8) {
        for (let k = 4; k < 8; k++) if (data[from + k] !== 0) hasher.word(data[from + k] as number);
      }
    }
  }

  #hasSize(): boolean {
    if (this.kind === Special.Inherited) return !this.#rules.has("streams");
    return this.kind !== Special.KernelFile && this.kind !== Special.Random;
  }

  /** Addresses of peers count with their ports unless the kernel chose those. */
  #address(data: Uint8Array, out: boolean): void {
    const text = addressText(data);
    if (text === undefined) {
      // Netlink addresses hold process ids.
      this.hash.word(data[0] ?? 0);
      return;
    }
    const kept = out && this.#rules.has("ports") ? this.#withoutPort(text) : text;
    const name = kept.startsWith("/") ? this.#names.path(kept) : this.#names.other(kept);
    this.socketPath = kept.startsWith("/") ? name : NO_NAME;
    this.name = this.#names.pair(this.name, name);
  }

  #withoutPort(address: string): string {
    const port = chosenPort(address);
    if (port !== undefined) this.ports.add(port);
    return address.replace(/:\d+$/, "");
  }

  #descriptor(batch: DigestedBatch, i: number, k: number): void {
    const fd = (batch.args[12 * i + 2 * k] as number) | 0;
    const end = batch.refStart[i + 1] as number;
    for (let r = batch.refStart[i] as number; r < end; r++) {
      if (batch.refSlot[r] !== k) continue;
      const object = batch.refObject[r] as number;
      if (!this.#rules.has("descriptors")) this.hash.word(fd);
      const name = this.#names.object(object, fd);
      this.name = this.#names.pair(this.name, name);
      if (this.object < 0) {
        this.object = object;
        this.kind = this.#special.of(object, fd, name);
        if (this.kind === Special.Pipe) this.#notePipe(batch, i, object);
      }
      return;
    }
    this.hash.word(fd < 0 ? fd : ABSENT);
  }

  #notePipe(batch: DigestedBatch, i: number, object: number): void {
    const process = this.#trace.threads[batch.thread[i] as number]?.process ?? 0;
    const known = this.pipeUsers.get(object);
    if (known === undefined) this.pipeUsers.set(object, process);
    else if (known !== process) this.pipeUsers.set(object, -1);
  }

  #pid(pid: number): void {
    if (!this.#rules.has("pids")) {
      this.hash.word(pid);
      return;
    }
    const thread = pid > 0 ? this.threads.get(pid) : -1;
    if (thread >= 0) this.name = this.#names.pair(this.name, this.#names.task(thread));
    else if (pid <= 0 && pid >= -1) this.hash.word(pid);
    else this.hash.word(ABSENT);
  }
}

function wordAt(data: Uint8Array, at: number): number {
  const high = ((data[at + 2] as number) << 16) | ((data[at + 3] as number) << 24);
  return ((data[at] as number) | ((data[at + 1] as number) << 8) | high) >>> 0;
}
