/**
 * In which phase of a server an access is made: before its first accepted connection, or after. Threads run side by side: what
 * one of them does that nothing puts before or behind that moment may come on either side of it in the next run.
 */

import type { Observed } from "./collect.js";

/** Bits: seen before the first accepted connection of the process, and after. */
export const INIT = 1;
export const SERVE = 2;

/** One process. Threads are named by their places in the trace. */
export class PhaseTracker {
  /** Whose call it is. */
  current = -1;
  #serving = false;
  /** Threads that accepted a connection, and those that one of them has started since. */
  readonly #after = new Set<number>();
  /** Threads that others have started, with the event in which. */
  readonly #born = new Map<number, number>();
  /** By thread, what it did since there are several, with the last event in which. */
  readonly #made = new Map<number, Map<Observed, number>>();

  exec(): void {
    this.#serving = false;
    this.#after.clear();
    this.#born.clear();
    this.#made.clear();
  }

  thread(by: number, thread: number, seq: number): void {
    this.#born.set(thread, seq);
    if (this.#after.has(by)) this.#after.add(thread);
  }

  /** That of a child, which is `thread` alone. */
  fork(by: number, thread: number): PhaseTracker {
    const child = new PhaseTracker();
    child.#serving = this.#serving;
    if (this.#after.has(by)) child.#after.add(thread);
    return child;
  }

  /** A thread has accepted a connection. */
  serves(thread: number): void {
    if (!this.#serving) this.#beside(thread);
    this.#serving = true;
    this.#after.add(thread);
  }

  /** What others did since the thread that serves was started may come later as well. */
  #beside(thread: number): void {
    const since = this.#born.get(thread) ?? -1;
    for (const [other, accesses] of this.#made) {
      if (other === thread) continue;
      for (const [access, seq] of accesses) if (seq > since) access.phases |= SERVE;
    }
    this.#made.clear();
  }

  made(access: Observed, seq: number): void {
    // Whoever accepts one connection will accept another one, though a recording may show the first alone.
    if (access.verb === "accept") {
      access.phases |= INIT | SERVE;
      return;
    }
    if (this.#serving) {
      access.phases |= this.#after.has(this.current) ? SERVE : INIT | SERVE;
      return;
    }
    access.phases |= INIT;
    if (this.#born.size === 0 || access.verb === "syscall") return;
    const own = this.#made.get(this.current);
    if (own === undefined) this.#made.set(this.current, new Map([[access, seq]]));
    else own.set(access, seq);
  }
}
