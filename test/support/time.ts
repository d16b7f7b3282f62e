/** Time that a busy machine does not stretch. */

import { Worker } from "node:worker_threads";

/** Milliseconds of CPU time that a function takes, whoever else wants the CPU. */
export function cpuMillis(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/**
 * How often this thread's event loop turns until `end` is there, as a share of how often that of a thread turns which
 * has nothing else to do: near 1 when it is free, 0 when it is blocked.
 */
export async function freedomUntil(end: () => Promise<unknown>): Promise<number> {
  const idle = new Int32Array(new SharedArrayBuffer(4));
  const counting = "setInterval(() => Atomics.add(require('worker_threads').workerData, 0, 1), 1)";
  const worker = new Worker(counting, { eval: true, workerData: idle });
  await new Promise((resolve) => worker.once("online", resolve));
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const before = Atomics.load(idle, 0);
  await end();
  const others = Atomics.load(idle, 0) - before;
  clearInterval(timer);
  await worker.terminate();
  return turns / others;
}
