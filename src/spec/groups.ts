/** Which processes of a recording are in which process group, setpgid(2). */

/** A process by its number in the recording, and by that which the system gave it. */
interface Numbered {
  readonly number: number;
  readonly pid: number;
}

export class ProcessGroups {
  readonly #pids: ReadonlyMap<number, number>;
  readonly #numbers: ReadonlyMap<number, number>;
  /** Of processes that nobody has waited for, by their numbers; of those in the group that the recording was started in, none. */
  readonly #groups = new Map<number, number>();

  constructor(processes: readonly Numbered[]) {
    this.#pids = new Map(processes.map(({ number, pid }) => [number, pid]));
    this.#numbers = new Map(processes.map(({ number, pid }) => [pid, number]));
  }

  fork(parent: number, child: number): void {
    const group = this.#groups.get(parent);
    if (group !== undefined) this.#groups.set(child, group);
  }

  /** A process that has ended is one of its group until it is waited for. */
  waitedFor(pid: number): void {
    const number = this.#numbers.get(pid);
    if (number !== undefined) this.#groups.delete(number);
  }

  /** A process begins a group of its own. */
  lead(number: number): void {
    const pid = this.#pids.get(number);
    if (pid !== undefined) this.#groups.set(number, pid);
  }

  /** What `setpgid(pid, group)` of a process does, when it works. */
  join(caller: number, pid: number, group: number): void {
    const number = pid === 0 ? caller : this.#numbers.get(pid);
    if (number === undefined) return;
    if (group === 0 || group === this.#pids.get(number)) this.lead(number);
    else this.#groups.set(number, group);
  }

  /** Numbers of the processes in a group that was made in the recording. */
  members(group: number): number[] {
    return [...this.#groups].filter(([, own]) => own === group).map(([number]) => number);
  }
}
