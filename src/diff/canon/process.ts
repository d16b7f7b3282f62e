/** What is known of one process of a trace, besides the streams of its threads: programs, end, calls, and runs of bytes that are open. */

import type { ExecEvent } from "../../decode/event.js";
import type { Plan } from "./plan.js";
import { closeRun, type Run } from "./run.js";

export interface Program extends ExecEvent {
  readonly seq: number;
  readonly credentials: string;
}

export interface End {
  readonly seq: number;
  readonly code: number;
  readonly signal: string | undefined;
  readonly core: boolean;
  readonly micros: number;
}

export class ProcessStreams {
  readonly programs: Program[] = [];
  end: End | undefined;
  /** How often each call was made, by the number of its plan; and their names as they came first. */
  readonly #counts: number[] = [];
  readonly #order: { readonly call: string; readonly number: number }[] = [];
  readonly runs = new Map<number, Run>();
  readonly images = new Set<number>();
  /** Objects without a path that it made, by verb. */
  readonly made = new Map<number, number>();

  constructor(readonly number: number) {}

  count(plan: Plan): void {
    const before = this.#counts[plan.number];
    this.#counts[plan.number] = (before ?? 0) + 1;
    if (before === undefined) this.#order.push(plan);
  }

  /** Calls by name, those that are set aside too. */
  get calls(): ReadonlyMap<string, number> {
    const calls = new Map<string, number>();
    for (const { call, number } of this.#order) {
      calls.set(call, (calls.get(call) ?? 0) + (this.#counts[number] ?? 0));
    }
    return calls;
  }

  /** Nothing more comes that would be part of what was begun. */
  closeRuns(): void {
    for (const run of this.runs.values()) closeRun(run);
    this.runs.clear();
  }
}
