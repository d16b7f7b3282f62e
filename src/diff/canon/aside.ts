/** Events that are set aside since chance decides whether they are there: retries, births of threads, short sleeps, timers. */

import { captureBytes, findCapture } from "../../decode/memory.js";
import { CaptureSide, type DigestedBatch, EventFlag } from "../../trace/batch.js";
import type { RuleSet } from "../rules.js";
import { NOT_OK } from "./pieces.js";
import { Chance, type Plan } from "./plan.js";

const EAGAIN = 11;
const EINTR = 4;
const CLONE_THREAD = 0x10000;
const TIMER_ABSTIME = 1;
const SHORT_SLEEP_NS = 50_000_000;
const MILLISECOND_NS = 1_000_000;
/** SIGALRM, SIGCHLD, SIGURG, SIGVTALRM, SIGPROF, SIGWINCH */
const CHANCE_SIGNALS: ReadonlySet<number> = new Set([14, 17, 23, 26, 27, 28]);
/** SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV */
const FAULTS: ReadonlySet<number> = new Set([4, 5, 7, 8, 11]);
const HANDLED = 1;
const FIRST_REALTIME = 32;

// An imported table is looked up through a getter wherever it is used, once for every event.
const { Error: FAILED, NoReturn: NO_RETURN } = EventFlag;
const { In: IN } = CaptureSide;

/** Retries, thread births, short sleeps: what chance decides in calls that are compared otherwise. */
export function isChanceCall(rules: RuleSet, plan: Plan, batch: DigestedBatch, i: number): boolean {
  const flags = batch.flags[i] as number;
  if ((flags & FAILED) !== 0) {
    const errno = -(batch.ret[2 * i] as number);
    return (errno === EAGAIN || errno === EINTR || errno >= 512) && rules.has("retries");
  }
  switch (plan.chance) {
    case Chance.None:
      return false;
    case Chance.Clone:
      return ((batch.args[12 * i] as number) & CLONE_THREAD) !== 0 && rules.has("scheduler");
    case Chance.Clone3:
      return rules.has("scheduler") && clone3Flags(batch, i) >= CLONE_THREAD;
    case Chance.Exec:
      // The start of the program follows, and says all of it.
      return (flags & NOT_OK) === 0 || (flags & NO_RETURN) !== 0;
    case Chance.Sleep:
    case Chance.SleepUntil:
      return rules.has("short-sleeps") && isChanceSleep(plan, batch, i);
    default:
      return true;
  }
}

/** The bit for a thread, alone. */
function clone3Flags(batch: DigestedBatch, i: number): number {
  const capture = findCapture(batch, i, 0, CaptureSide.In);
  const data = capture < 0 ? undefined : captureBytes(batch, capture);
  return data === undefined || data.length < 4 ? 0 : ((data[2] as number) & 1) << 16;
}

/** Short, cut off by the end of the process, or of a length that was worked out from a clock. */
function isChanceSleep(plan: Plan, batch: DigestedBatch, i: number): boolean {
  if (((batch.flags[i] as number) & NO_RETURN) !== 0) return true;
  if (isUntil(plan, batch, i)) return (batch.duration[i] as number) < SHORT_SLEEP_NS;
  const capture = findCapture(batch, i, plan.chance === Chance.Sleep ? 0 : 2, IN);
  if (capture < 0) return false;
  const data = Buffer.from(captureBytes(batch, capture));
  if (data.length < 16) return false;
  const [seconds, nanos] = [data.readUInt32LE(0), data.readUInt32LE(8)];
  return (seconds === 0 && nanos < SHORT_SLEEP_NS) || nanos % MILLISECOND_NS !== 0;
}

/** A sleep that names the time of its end. */
export function isUntil({ chance }: Plan, batch: DigestedBatch, i: number): boolean {
  return chance === Chance.SleepUntil && (batch.args[12 * i + 2] as number) === TIMER_ABSTIME;
}

/** A signal that the program may do without, or that its own fault handler gets. */
export function isChanceSignal(rules: RuleSet, batch: DigestedBatch, i: number): boolean {
  if (!rules.has("signals")) return false;
  const signal = batch.code[i] as number;
  if (CHANCE_SIGNALS.has(signal) || signal >= FIRST_REALTIME) return true;
  return FAULTS.has(signal) && (batch.args[12 * i + 4] as number) === HANDLED;
}
