/**
 * What a process was at some event: program, working directory, names of its threads. Read in one
 * pass over the trace, and only when a filter asks for it.
 */

import { captureText } from "../decode/event.js";
import { EventKind, type ThreadInfo } from "../trace/batch.js";
import { inUtf8 } from "../trace/byte_text.js";
import { CALL_COLUMNS } from "../trace/columns.js";
import { History, type ProgramStart } from "../trace/history.js";
import type { Trace } from "../trace/trace.js";
import { CallFacts } from "./facts.js";

/** Values from some event on, per process or thread. */
class Timeline {
  readonly #changes = new Map<number, { readonly seqs: number[]; readonly values: string[] }>();

  add(key: number, seq: number, value: string): void {
    let changes = this.#changes.get(key);
    if (changes === undefined) {
      changes = { seqs: [], values: [] };
      this.#changes.set(key, changes);
    }
    changes.seqs.push(seq);
    changes.values.push(value);
  }

  /** The value at event `seq`; a change counts from the event after it. */
  at(key: number, seq: number): string | undefined {
    const changes = this.#changes.get(key);
    if (changes === undefined) return undefined;
    let low = 0;
    let high = changes.seqs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((changes.seqs[middle] ?? 0) < seq) low = middle + 1;
      else high = middle;
    }
    return changes.values[low - 1];
  }
}

const PR_SET_NAME = 15;

export class ProcessTimes {
  readonly #trace: Trace;
  readonly #history: History;
  readonly #cwds = new Timeline();
  readonly #names = new Timeline();

  private constructor(trace: Trace, history: History) {
    this.#trace = trace;
    this.#history = history;
  }

  static async read(trace: Trace): Promise<ProcessTimes> {
    const times = new ProcessTimes(trace, await History.read(trace));
    const facts = new CallFacts(trace);
    for await (const batch of trace.batches({ columns: CALL_COLUMNS })) {
      for (let i = 0; i < batch.count; i++) {
        const thread = trace.threads[batch.thread[i] ?? -1];
        if (thread === undefined) continue;
        const seq = batch.firstSeq + i;
        if (batch.kind[i] === EventKind.Exec) {
          times.#cwds.add(thread.process, seq - 1, captureText(batch, i, 3) ?? "");
          const file = (captureText(batch, i, 0) ?? "").split("/").at(-1) ?? "";
          times.#names.add(thread.index, seq - 1, file.slice(0, 15));
        } else if (facts.succeeded(batch, i)) {
          times.#call(facts, batch, i, thread);
        }
      }
    }
    return times;
  }

  #call(facts: CallFacts, batch: Parameters<CallFacts["shape"]>[0], i: number, thread: ThreadInfo) {
    const seq = batch.firstSeq + i;
    const name = facts.shape(batch, i)?.name;
    if (name === "chdir") {
      const path = facts.resolvedPath(batch, i, 0);
      if (path !== undefined) this.#cwds.add(thread.process, seq, path);
    } else if (name === "fchdir") {
      const object = this.#trace.objects[facts.objects(batch, i)[0] ?? -1];
      if (object !== undefined) this.#cwds.add(thread.process, seq, inUtf8(object.path));
    } else if (name === "prctl" && batch.args[12 * i] === PR_SET_NAME) {
      const text = captureText(batch, i, 1)?.split("\0")[0];
      if (text !== undefined) this.#names.add(thread.index, seq, text.slice(0, 15));
    }
  }

  program(process: number, seq: number): ProgramStart | undefined {
    return this.#history.programAt(process, seq);
  }

  /** Its own last change, or what its parent had when it was started. */
  cwd(process: number, seq: number): string | undefined {
    let number = process;
    let moment = seq;
    for (let depth = 0; depth <= this.#history.lives.length; depth++) {
      const found = this.#cwds.at(number, moment);
      if (found !== undefined) return found;
      const life = this.#history.life(number);
      if (life === undefined || life.parent === 0) break;
      moment = Math.min(moment, life.createdBy);
      number = life.parent;
    }
    return this.#history.life(process)?.programs[0]?.cwd;
  }

  comm(thread: ThreadInfo | undefined, seq: number): string | undefined {
    let current = thread;
    let moment = seq;
    for (let depth = 0; current !== undefined && depth <= this.#trace.threads.length; depth++) {
      const found = this.#names.at(current.index, moment);
      if (found !== undefined) return found;
      moment = Math.min(moment, current.createdBy);
      current = this.#trace.threads[current.parent];
    }
    return undefined;
  }
}
