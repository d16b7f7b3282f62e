/** Stacks of events: columns as the engine hands them over, and frames made of them when somebody asks. */

import type { NativeStacks } from "../native.js";

const NONE = 0xffff_ffff;

/** Bits of a place, native/engine/src/stacks.rs. */
const Bit = { Guessed: 1, Interrupted: 2, Trampoline: 8 } as const;
/** Numbers in the upper bits, beside those of lacks. */
const Upper = { Interpreted: 8, Compiled: 9 } as const;
const UPPER_SHIFT = 4;

/** By `Lack::code` of native/engine/src/symbolize.rs. */
const LACKS: readonly (string | undefined)[] = [
  undefined,
  "its file is not at hand",
  "its file cannot be read",
  "its debug information is damaged",
  "its debug information is too large",
];

/** One function of a stack. */
export interface StackFrame {
  /** Demangled; undefined where no table has a name. */
  readonly function: string | undefined;
  /** Bytes behind the start of the function; undefined for inlined ones. */
  readonly behind: number | undefined;
  /** Source file and line (from 1), by the debug information. */
  readonly source: { readonly file: string; readonly line: number } | undefined;
  /** Inlined into the frame that follows. */
  readonly inlined: boolean;
  /** The file with the code, and its BLAKE3; undefined for code that is in none. */
  readonly image: { readonly path: string; readonly hash: string } | undefined;
  /** As the file itself counts addresses; in memory where there is no file. */
  readonly address: bigint;
  /** Found by a frame pointer and not by a table. */
  readonly guessed: boolean;
  /** A signal interrupted it here. */
  readonly interrupted: boolean;
  /** Returns from the handler of a signal: what follows was interrupted. */
  readonly trampoline: boolean;
  /** Why less is known of it than there is to know. */
  readonly lack: string | undefined;
  /** A function that an interpreter runs: it has no address. */
  readonly interpreted: boolean;
  /** Compiled at run time: its name is what the program told in a map for perf(1). */
  readonly compiled: boolean;
}

export interface Stack {
  /** Innermost first. */
  readonly frames: readonly StackFrame[];
  /** Why there are no more frames, when the last one is not the outermost. */
  readonly cut: string | undefined;
}

/** By `End::code` of native/engine/src/unwind.rs. */
const ENDS: readonly (string | undefined)[] = [
  undefined,
  "the memory with the next frame cannot be read",
  "the code has no unwind table, and its frame pointer leads nowhere",
  "the unwind table is damaged",
  "there are more frames than are taken",
  "the recorder made this call, and not the program",
  "the place to return to, by the unwind table, is no code",
  "the next frame is beyond what was copied of the stack; trace record --stack-bytes=65536 copies more",
];

export class StackTable {
  readonly #columns: NativeStacks;
  readonly #further: StackTable | undefined;
  readonly #rows = new Map<number, number>();
  readonly #places = new Map<number, readonly StackFrame[]>();

  /** `further` has stacks of events that have none in these columns. */
  constructor(columns: NativeStacks, further?: StackTable) {
    this.#columns = columns;
    this.#further = further;
    columns.seqs.forEach((seq, row) => {
      this.#rows.set(seq, row);
    });
  }

  /** How many stacks these columns have. */
  get size(): number {
    return this.#rows.size;
  }

  has(seq: number): boolean {
    return this.#rows.has(seq) || (this.#further?.has(seq) ?? false);
  }

  /** The same stacks, with those of another table for events that have none here. */
  over(further: StackTable): StackTable {
    return new StackTable(this.#columns, further);
  }

  get columns(): NativeStacks {
    return this.#columns;
  }

  /** The stack of an event, as its call began; undefined when none was taken. */
  of(seq: number): Stack | undefined {
    const row = this.#rows.get(seq);
    if (row === undefined) return this.#further?.of(seq);
    const { frameEnd, frames, ends } = this.#columns;
    const found: StackFrame[] = [];
    const end = frameEnd[row] ?? 0;
    for (let k = row === 0 ? 0 : (frameEnd[row - 1] ?? 0); k < end; k++) {
      found.push(...this.#place(frames[k] ?? 0));
    }
    return { frames: found, cut: ENDS[ends[row] ?? 0] };
  }

  /** The functions at a place, the inlined ones first. */
  #place(place: number): readonly StackFrame[] {
    let known = this.#places.get(place);
    if (known === undefined) {
      known = this.#framesAt(place);
      this.#places.set(place, known);
    }
    return known;
  }

  #framesAt(place: number): StackFrame[] {
    const columns = this.#columns;
    const bits = columns.placeBits[place] ?? 0;
    const file = columns.placeFile[place] ?? NONE;
    const path = columns.filePaths[file];
    const low = BigInt(columns.placeAddress[2 * place] ?? 0);
    const common = {
      image: path === undefined ? undefined : { path, hash: columns.fileHashes[file] ?? "" },
      address: (BigInt(columns.placeAddress[2 * place + 1] ?? 0) << 32n) | low,
      guessed: (bits & Bit.Guessed) !== 0,
      trampoline: (bits & Bit.Trampoline) !== 0,
      lack: LACKS[bits >> UPPER_SHIFT],
      interpreted: bits >> UPPER_SHIFT === Upper.Interpreted,
      compiled: bits >> UPPER_SHIFT === Upper.Compiled,
    };
    const start = place === 0 ? 0 : (columns.sourceEnd[place - 1] ?? 0);
    const end = columns.sourceEnd[place] ?? start;
    const interrupted = (bits & Bit.Interrupted) !== 0;
    const behind = columns.placeBehind[place] ?? -1;
    const whole = behind < 0 ? undefined : behind;
    if (start >= end) {
      const nothing = { function: undefined, behind: whole, source: undefined };
      return [{ ...common, ...nothing, inlined: false, interrupted }];
    }
    const frames: StackFrame[] = [];
    for (let k = start; k < end; k++) {
      const inlined = k < end - 1;
      frames.push({
        ...common,
        function: columns.strings[columns.sourceFunction[k] ?? NONE],
        behind: inlined ? undefined : whole,
        source: this.#source(k),
        inlined,
        interrupted: interrupted && k === start,
      });
    }
    return frames;
  }

  #source(k: number): StackFrame["source"] {
    const { strings, sourceFile, sourceLine } = this.#columns;
    const file = strings[sourceFile[k] ?? NONE];
    const line = sourceLine[k] ?? 0;
    return file === undefined || line === 0 ? undefined : { file, line };
  }
}
