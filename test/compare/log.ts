/**
 * Reads a log in the format of `strace -f -ttt -T` into tasks: the lines of each thread in order, with
 * "unfinished" and "resumed" halves joined and times taken off. Tasks are labelled by lineage (P1, P1.1,
 * P1.2 ...), never by their process id. Not a decoder: a line stays text.
 */

export interface Task {
  /** "P1" for the first task; "P1.2" for the second task that P1 created. */
  readonly label: string;
  /** Label of the task that stands for the whole process (threads share their creator's). */
  readonly process: string;
  readonly tid: number;
  readonly lines: readonly string[];
}

export interface Call {
  readonly name: string;
  readonly args: string;
  readonly result: string;
}

interface RawLine {
  readonly tid: number;
  text: string;
}

interface RawTask {
  readonly tid: number;
  readonly lines: RawLine[];
  label: string | undefined;
  process: string | undefined;
}

const LINE = /^\s*(\d+)\s+\d+\.\d+\s(.*)$/;
const UNFINISHED = / ?<unfinished \.\.\.>$/;
const PID_CHANGED = / ?<pid changed to (\d+) \.\.\.>$/;
const RESUMED = /^<\.\.\. \S+ resumed>(.*)$/;
const DURATION = / <\d+\.\d+>$/;
const CALL = /^(\w+)\((.*)\)\s+= (.*)$/s;
const CREATORS = new Set(["fork", "vfork", "clone", "clone3"]);

/** Splits `name(args) = result`; undefined for signals, exits and other lines. */
export function parseCall(line: string): Call | undefined {
  const match = CALL.exec(line);
  if (match === null) return undefined;
  return { name: match[1] ?? "", args: match[2] ?? "", result: match[3] ?? "" };
}

/** The tasks of a log, in order of their labels. */
export function parseLog(text: string): Task[] {
  const tasks = label(collect(joinHalves(text)));
  const done = tasks.map((task) => ({
    label: task.label ?? "?",
    process: task.process ?? "?",
    tid: task.tid,
    lines: task.lines.map((line) => line.text),
  }));
  return done.sort((a, b) => compareLabels(a.label, b.label));
}

/** Orders P1.10 after P1.9. */
export function compareLabels(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

function joinHalves(text: string): RawLine[] {
  const lines: RawLine[] = [];
  const open = new Map<number, RawLine>();
  for (const row of text.split("\n")) {
    const match = LINE.exec(row);
    if (match === null) continue;
    const tid = Number(match[1]);
    const rest = (match[2] ?? "").replace(DURATION, "");
    const resumed = RESUMED.exec(rest);
    const started = resumed === null ? undefined : open.get(tid);
    if (resumed !== null && started !== undefined) {
      started.text = normalise(started.text + (resumed[1] ?? ""));
      open.delete(tid);
      continue;
    }
    const moved = PID_CHANGED.exec(rest);
    const line: RawLine = { tid, text: rest.replace(UNFINISHED, "").replace(PID_CHANGED, "") };
    if (moved !== null) open.set(Number(moved[1]), line);
    else if (UNFINISHED.test(rest)) open.set(tid, line);
    else line.text = normalise(line.text);
    lines.push(line);
  }
  // A call that was never resumed reads like one that was resumed without a result.
  for (const line of open.values()) line.text = normalise(`${line.text}) = ?`);
  return lines;
}

/** One space before the equals sign, and no trace of where a call without a result was cut. */
function normalise(line: string): string {
  const call = parseCall(line.replace(/ ?<unfinished \.\.\.>\)(\s+= \?)/, ")$1"));
  if (call === undefined) return line;
  // Where a pending argument list was cut, one side may have printed the comma and blank already.
  const args = call.result === "?" ? call.args.replace(/,\s*$/, "") : call.args;
  return `${call.name}(${args}) = ${call.result}`;
}

function collect(lines: readonly RawLine[]): RawTask[] {
  const tasks = new Map<number, RawTask>();
  for (const line of lines) {
    let task = tasks.get(line.tid);
    if (task === undefined) {
      task = { tid: line.tid, lines: [], label: undefined, process: undefined };
      tasks.set(line.tid, task);
    }
    task.lines.push(line);
  }
  return [...tasks.values()];
}

function label(tasks: RawTask[]): RawTask[] {
  const byTid = new Map(tasks.map((task) => [task.tid, task]));
  const queue: RawTask[] = [];
  const enter = (task: RawTask, name: string, process: string): void => {
    task.label = name;
    task.process = process;
    queue.push(task);
  };
  let orphans = 0;
  for (const first of tasks) {
    if (first.label !== undefined) continue;
    // Only the first task has no creator in the log; others are in a process-id namespace of their own.
    const name = orphans === 0 ? "P1" : `Q${orphans}`;
    orphans++;
    if (name !== "P1" && isCreatedLater(tasks, first.tid)) continue;
    enter(first, name, name);
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
      let created = 0;
      for (const { text } of task.lines) {
        const call = parseCall(text);
        if (call === undefined || !CREATORS.has(call.name)) continue;
        const child = byTid.get(Number(call.result));
        if (child === undefined || child.label !== undefined) continue;
        created++;
        const name = `${task.label}.${created}`;
        enter(child, name, call.args.includes("CLONE_THREAD") ? (task.process ?? "?") : name);
      }
    }
  }
  return tasks;
}

function isCreatedLater(tasks: readonly RawTask[], tid: number): boolean {
  return tasks.some(
    (task) =>
      task.label === undefined &&
      task.lines.some(({ text }) => {
        const call = parseCall(text);
        return call !== undefined && CREATORS.has(call.name) && Number(call.result) === tid;
      }),
  );
}
