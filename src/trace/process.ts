/** The processes of a trace, as far as its threads tell: numbers, pids, who started whom. */

import type { ThreadInfo } from "./batch.js";

export interface ProcessInfo {
  /** As shown: 3 is p3. */
  readonly number: number;
  readonly pid: number;
  /** Number of the process that started it; 0 for the first, and for those that were there before. */
  readonly parent: number;
  /** Indexes of its threads, the first one first. */
  readonly threads: readonly number[];
  /** Event number of its first thread's Task event. */
  readonly createdBy: number;
}

export function processName(number: number): string {
  return `p${number}`;
}

/** `p3` for the first thread, `p3.2` for the second. */
export function threadName(thread: ThreadInfo): string {
  return thread.ordinal <= 1 ? `p${thread.process}` : `p${thread.process}.${thread.ordinal}`;
}

export function processesOf(threads: readonly ThreadInfo[]): ProcessInfo[] {
  const found = new Map<number, { first: ThreadInfo; threads: number[] }>();
  for (const thread of threads) {
    const known = found.get(thread.process);
    if (known === undefined) found.set(thread.process, { first: thread, threads: [thread.index] });
    else known.threads.push(thread.index);
  }
  const processes = [...found].map(([number, { first, threads: own }]) => ({
    number,
    pid: first.pid,
    parent: threads[first.parent]?.process ?? 0,
    threads: own,
    createdBy: first.createdBy,
  }));
  return processes.sort((a, b) => a.number - b.number);
}
