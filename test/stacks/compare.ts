/**
 * Compares stacks frame by frame. A frame that differs for a reason that is known, and checked, counts in the class of that reason;
 * any other counts as different. None counts as equal.
 */

import {
  type Call,
  type Frame,
  lastName,
  type OwnFrame,
  same,
  sameName,
  samePlace,
  text,
} from "./frames.js";
import type { Opinions } from "./opinions.js";

/** Known reasons for frames that are not the same, and what each was checked by. */
export const CLASSES = {
  "tail-call":
    "gdb makes up a frame for a function that has left by a jump; no unwind table knows it, and the trace guesses nothing",
  statement:
    "of several rows of the line table at one address gdb takes the last one that begins a statement; addr2line -i says what the trace says",
  "no-call-site":
    "debug information before DWARF 3 has no line where something was inlined: gdb then hides what is inlined, the trace and addr2line -i show it",
  alias:
    "several symbols stand at one address: gdb and the trace (as addr2line) take different ones; nm lists both there",
  scope:
    "gdb puts names together from the scopes of the debug information, the trace shows the name that is linked by; file, line and last part of the name are the same, or addr2line says what the trace says",
  "i386-vdso":
    "the recorder takes the vDSO away, so that a recorded i386 program enters the kernel by int $0x80 and not by __kernel_vsyscall",
  "gdb-guess":
    "gdb goes on behind the outermost function that a table or frame pointer leads to, by reading code: the frames it finds there have no name; of code without a file (JIT) it takes the saved frame pointer for one more caller",
  "gdb-unaware":
    "gdb does not know yet that the loader has mapped a library, or has lost its way otherwise: it shows frames without a name; addr2line -i says what the trace says of each",
  "no-table":
    "code without unwind tables (musl as it is packaged): the trace says so, and ends; gdb goes on by reading code",
  "trace-guess":
    "code without unwind tables (musl as it is packaged) has called: gdb ends there, the trace goes on by the frame pointer and marks that as a guess",
  "go-stack-switch":
    "the runtime of Go has left the stack of a goroutine, which no table tells: the trace ends there, gdb shows what is left on the other stack",
  "second-opinion": "gdb says something else, and addr2line -i says what the trace says",
} as const;
export type Class = keyof typeof CLASSES;

export interface Score {
  /** Frames, the calls they belong to, and the frames that are the same. */
  readonly frames: number;
  readonly calls: number;
  readonly same: number;
  readonly classes: Readonly<Partial<Record<Class, number>>>;
  readonly differences: readonly string[];
}

interface Tally {
  frames: number;
  calls: number;
  same: number;
  classes: Partial<Record<Class, number>>;
  differences: string[];
}

type Pair = readonly [theirs: Frame | undefined, own: OwnFrame | undefined];
const NO_PAIR: Pair = [undefined, undefined];

/** Frames side by side: where one side has more in between, as few as possible stand alone. */
function aligned(theirs: readonly Frame[], own: readonly OwnFrame[]): Pair[] {
  const cost = (one: Frame, other: OwnFrame) => {
    if (same(one, other)) return 0;
    return one.kind === other.kind && (sameName(one, other) || samePlace(one, other)) ? 1.2 : 1.9;
  };
  const width = own.length + 1;
  const table = new Float64Array((theirs.length + 1) * width);
  for (let i = theirs.length; i >= 0; i--) {
    for (let k = own.length; k >= 0; k--) {
      const [one, other] = [theirs[i], own[k]];
      const options: number[] = [];
      if (one !== undefined) options.push(1 + (table[(i + 1) * width + k] ?? 0));
      if (other !== undefined) options.push(1 + (table[i * width + k + 1] ?? 0));
      if (one !== undefined && other !== undefined) {
        options.push(cost(one, other) + (table[(i + 1) * width + k + 1] ?? 0));
      }
      table[i * width + k] = options.length === 0 ? 0 : Math.min(...options);
    }
  }
  const pairs: Pair[] = [];
  for (let i = 0, k = 0; i < theirs.length || k < own.length; ) {
    const [one, other] = [theirs[i], own[k]];
    const best = table[i * width + k] ?? 0;
    if (
      one !== undefined &&
      other !== undefined &&
      Math.abs(best - cost(one, other) - (table[(i + 1) * width + k + 1] ?? 0)) < 1e-9
    ) {
      pairs.push([one, other]);
      i += 1;
      k += 1;
    } else if (one !== undefined && Math.abs(best - 1 - (table[(i + 1) * width + k] ?? 0)) < 1e-9) {
      pairs.push([one, undefined]);
      i += 1;
    } else {
      pairs.push([undefined, other]);
      k += 1;
    }
  }
  return pairs;
}

/**
 * What gdb shows of functions that are inlined without a line of their call: the outermost one, with the line of the innermost.
 * Undefined where none of a stack is such.
 */
function collapsed(own: readonly OwnFrame[]): { frames: OwnFrame[]; hidden: number } {
  const frames: OwnFrame[] = [];
  let hidden = 0;
  for (let k = 0; k < own.length; ) {
    let end = k;
    while (own[end]?.kind === "inlined") end += 1;
    const [inner, outer] = [own[k], own[end]];
    if (inner === undefined) break;
    if (end > k && outer !== undefined && outer.line === 0) {
      frames.push({ ...outer, file: inner.file, line: inner.line });
      hidden += end - k + 1;
    } else {
      frames.push(...own.slice(k, end + 1));
    }
    k = end + 1;
  }
  return { frames, hidden };
}

function isNameless(frame: Frame | undefined): boolean {
  return frame !== undefined && frame.function === null && frame.file === null;
}

/** The functions of Go's runtime that continue on another stack. */
const GO_SWITCHES =
  /^runtime\.(?:systemstack|mcall|mstart|clone|rt0_go|goexit|gcWriteBarrier|morestack|asmcgocall)\b/;

/**
 * Why gdb's stack is another one from some pair on, for all frames that follow; undefined where that is not known. The second
 * parameter is the pair in front.
 */
function classOfRest(
  pairs: readonly Pair[],
  [last, before]: Pair,
  cut: string | undefined,
  opinions: Opinions,
): Class | undefined {
  const theirs = pairs.flatMap(([frame]) => frame ?? []);
  const own = pairs.flatMap(([, frame]) => frame ?? []);
  if (own.length === 0) {
    if (theirs.every(isNameless)) return "gdb-guess";
    if (cut?.includes("no unwind table")) return "no-table";
    return GO_SWITCHES.test(before?.function ?? "") ? "go-stack-switch" : undefined;
  }
  const isLost = isNameless(theirs[0] ?? last);
  if (isLost && own.every((frame) => frame.isGuess || frame.kind === "inlined"))
    return "trace-guess";
  return isLost && own.every((frame) => opinions.agree(frame)) ? "gdb-unaware" : undefined;
}

function classOf([theirs, own]: Pair, opinions: Opinions): Class | undefined {
  if (theirs === undefined || own === undefined) return undefined;
  if (theirs.function?.startsWith("__kernel_") === true && opinions.entersKernel(own))
    return "i386-vdso";
  if (theirs.kind !== own.kind) return undefined;
  const agrees = opinions.agree(own);
  if (sameName(theirs, own)) return agrees ? "statement" : undefined;
  if (samePlace(theirs, own)) {
    if (opinions.areAliases(theirs, own)) return "alias";
    if (lastName(theirs.function ?? "?") === lastName(own.function ?? "!")) return "scope";
    return agrees ? "scope" : undefined;
  }
  if (!agrees) return undefined;
  return lastName(theirs.function ?? "?") === lastName(own.function ?? "!")
    ? "statement"
    : "second-opinion";
}

function compareStack(
  theirs: Call<Frame>,
  own: Call<OwnFrame>,
  opinions: Opinions,
  tally: Tally,
): void {
  const count = (name: Class, frames = 1) => {
    tally.classes[name] = (tally.classes[name] ?? 0) + frames;
    tally.frames += frames;
  };
  const shown = theirs.frames.filter((frame) => frame.kind !== "tail");
  if (shown.length < theirs.frames.length) count("tail-call", theirs.frames.length - shown.length);
  let mine = own.frames;
  const { frames, hidden } = collapsed(mine);
  const isHidden = hidden > 0 && frames.every((frame, k) => same(frame, shown[k] ?? frame));
  if (isHidden) {
    count("no-call-site", hidden);
    mine = frames.filter((frame) => own.frames.includes(frame));
  }
  const visible = isHidden
    ? shown.filter((_, k) => own.frames.includes(frames[k] as OwnFrame))
    : shown;
  const pairs = aligned(visible, mine);
  for (const [k, pair] of pairs.entries()) {
    const [one, other] = pair;
    if (one !== undefined && other !== undefined && same(one, other)) {
      tally.frames += 1;
      tally.same += 1;
      continue;
    }
    const reason = classOf(pair, opinions);
    if (reason !== undefined) {
      count(reason);
      continue;
    }
    const isBeside = [pairs[k - 1], pairs[k + 1]].some(
      (next) => next?.[1]?.image === undefined && isNameless(next?.[1]),
    );
    if (other === undefined && isNameless(one) && isBeside) {
      count("gdb-guess");
      continue;
    }
    const rest = pairs.slice(k);
    const ofRest = classOfRest(rest, pairs[k - 1] ?? NO_PAIR, own.cut, opinions);
    if (ofRest !== undefined) {
      count(ofRest, rest.length);
      return;
    }
    tally.frames += 1;
    tally.differences.push(`call ${own.number} frame ${k}: gdb ${text(one)}, trace ${text(other)}`);
  }
}

function names(call: Call<Frame>): string[] {
  return call.frames.map((frame) => lastName(frame.function ?? "?"));
}

/**
 * What calls are told apart by: their numbers, and the functions that they come from. Those that are whole, and come from other
 * functions, are not the same one: the loader gets its memory for other things, as the environment is longer or shorter.
 */
function likeness(one: Call<Frame>, other: Call<OwnFrame>): number {
  if (one.number !== other.number) return 0;
  const [first, second] = [names(one), names(other)];
  const common = first.slice(0, MOST_NAMES).filter((name) => second.includes(name)).length;
  const isWhole =
    other.cut === undefined && second.at(-1) === first.findLast((name) => name !== "?");
  const isOther = isWhole && common * 2 < Math.min(first.length, second.length, MOST_NAMES);
  const isMemory = [first, second].every((list) => list.includes(LOADER_MEMORY));
  if (isOther || (isMemory && plain(one) !== plain(other))) return 0;
  const isAsLong = one.frames.length === other.frames.length;
  return 1 + (common + Number(isAsLong)) / (MOST_NAMES + 2);
}

function plain(call: Call<Frame>): string {
  return call.frames
    .flatMap((frame) => (frame.kind === "plain" ? lastName(frame.function ?? "?") : []))
    .join(" ");
}

/** The loader's allocator: which call needs a page more depends on the length of the environment. */
const LOADER_MEMORY = "__minimal_malloc";
/** Calls that only a recorded program makes: the exec, and those that the vDSO answers otherwise, by number on x86-64 and i386. */
const OWN_CALLS = new Set([
  "execve",
  "clock_gettime",
  "clock_gettime64",
  "gettimeofday",
  "time",
  "getcpu",
  "getrandom",
]);

/** Whether it is known why only one run has made a call. */
function isAlone(call: Call<Frame>, isOwn: boolean): boolean {
  if (names(call).includes(LOADER_MEMORY)) return true;
  // Of a loader without symbols.
  if (
    call.frames.every((frame) => isNameless(frame) || frame.function?.startsWith("_dl_") === true)
  )
    return true;
  return isOwn && call.name !== undefined && OWN_CALLS.has(call.name);
}

const MOST_NAMES = 8;

/** Pairs of calls that are the same ones, in order: the row that is most alike. */
function commonCalls(
  theirs: readonly Call<Frame>[],
  own: readonly Call<OwnFrame>[],
): [number, number][] {
  const width = own.length + 1;
  const table = new Float64Array((theirs.length + 1) * width);
  const like = new Float64Array((theirs.length + 1) * width);
  const at = (i: number, k: number) => table[i * width + k] ?? 0;
  for (let i = theirs.length - 1; i >= 0; i--) {
    for (let k = own.length - 1; k >= 0; k--) {
      const [one, other] = [theirs[i], own[k]];
      const alike = one === undefined || other === undefined ? 0 : likeness(one, other);
      like[i * width + k] = alike;
      const both = alike > 0 ? alike + at(i + 1, k + 1) : 0;
      table[i * width + k] = Math.max(both, at(i + 1, k), at(i, k + 1));
    }
  }
  const pairs: [number, number][] = [];
  for (let i = 0, k = 0; i < theirs.length && k < own.length; ) {
    const alike = like[i * width + k] ?? 0;
    if (alike > 0 && at(i, k) === alike + at(i + 1, k + 1)) {
      pairs.push([i, k]);
      i += 1;
      k += 1;
    } else if (at(i + 1, k) >= at(i, k + 1)) i += 1;
    else k += 1;
  }
  return pairs;
}

/**
 * Compares the stacks of all calls of each thread. `alone` counts calls that only one run has made; unless threads run beside each
 * other, those whose reason is not known are differences.
 */
export function compare(
  theirs: readonly (readonly Call<Frame>[])[],
  own: readonly (readonly Call<OwnFrame>[])[],
  opinions: Opinions,
  isParallel: boolean,
): Score & { readonly alone: number } {
  const tally: Tally = { frames: 0, calls: 0, same: 0, classes: {}, differences: [] };
  let alone = 0;
  for (let thread = 0; thread < Math.max(theirs.length, own.length); thread++) {
    const [one, other] = [theirs[thread] ?? [], own[thread] ?? []];
    const pairs = commonCalls(one, other);
    alone += one.length + other.length - 2 * pairs.length;
    if (!isParallel) {
      const [paired, own] = [new Set(pairs.map(([i]) => i)), new Set(pairs.map(([, k]) => k))];
      const only = [
        ...one.flatMap((call, i) =>
          paired.has(i) || isAlone(call, false)
            ? []
            : `call ${call.number} only in gdb: ${text(call.frames[1])}`,
        ),
        ...other.flatMap((call, k) =>
          own.has(k) || isAlone(call, true)
            ? []
            : `call ${call.name} only in the trace: ${text(call.frames[1])}`,
        ),
      ];
      tally.differences.push(...only);
    }
    tally.calls += pairs.length;
    for (const [i, k] of pairs) {
      const [first, second] = [one[i], other[k]];
      if (first !== undefined && second !== undefined) compareStack(first, second, opinions, tally);
    }
  }
  return { ...tally, alone };
}
