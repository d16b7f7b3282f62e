/**
 * Names that tell who made them, or when: the number of a process, the day, the time as a number with letters. One recording shows
 * that, since it knows which numbers its processes were told and what time it was.
 */

import { wallClock } from "../show/time.js";
import { PYTHON_NAME as PLAIN_PYTHON_NAME } from "./made_up.js";

/** What stands in a pattern for each such word of a name. */
export type Stamps = ReadonlyMap<string, string>;

/** Shorter numbers are too many things. Longer ones than four digits are taken for made up anyway. */
const PID_DIGITS = /^\d{3,}$/;
/** All hexadecimal digits at the end of a word, in which there are digits and letters. */
const PID_TAIL = /^(.*?)(?<![0-9a-f])(?=[a-f]*\d)(?=\d*[a-f])([0-9a-f]{4,8})$/;
/** A word of its own that may be one in hexadecimal, though it has no letters. */
const PID_HEX = /^\d{4,8}$/;
/** Seconds to nanoseconds since 1970 have so many digits, with letters as digits too: all of them may be letters. */
const TIME_WORD = /^(?=.*[a-z])[0-9a-z]{6,16}$/;
const RADIXES: readonly (readonly [radix: number, digits: RegExp])[] = [
  [16, /^[0-9a-f]+$/],
  [36, /^[0-9a-z]+$/],
];
const UNITS = [1, 1e3, 1e6, 1e9] as const;
/** A day without separators, perhaps with the time of day. */
const DAY_WORD = /^([A-Za-z]*)(\d{8})(?:T?\d{2,9}Z?)?$/;
/** Seconds by which clocks on the wall are behind and before UTC at most. */
const ZONES = [-12 * 3600, 14 * 3600] as const;
/** Seconds by which a clock that a program reads and that of the recording may be apart. */
const SLACK = 2;

/**
 * mkstemp(3) and mkdtemp(3) make files and directories that are new and only the user's: six letters and digits are random then,
 * whatever words they look like. Six small letters are words more often.
 */
const LIBC_NAME = /^(|.*[-._])(?![a-z]{6}(?:\.|$))([A-Za-z0-9]{6})((?:\.[A-Za-z0-9]{1,8}){0,2}~?)$/;
/** As does tempfile of Python. Small letters alone are words elsewhere than among temporary files. */
const PYTHON_NAME = /^(|.*[-._])([a-z0-9_]{8})((?:\.[A-Za-z0-9]{1,8}){0,2}~?)$/;

/** Under what the form of a whole name is found among its stamps: that in any directory, and among temporary files. No word is like that. */
const ANYWHERE = "/";
const AMONG_TEMPORARY = "//";

/** Follows who was told which number, event by event, and finds the names that were made with one. */
export class StampFinder {
  readonly #start: { readonly startSeconds: number; readonly startNanos: number };
  /** By process, the numbers that it was told, or one that it descends from. */
  readonly #told = new Map<number, Set<string>>();
  readonly #found = new Map<string, Stamps>();

  constructor(start: { readonly startSeconds: number; readonly startNanos: number }) {
    this.#start = start;
  }

  /** By path; a name that was made more than once has what all its makers agree about. */
  get found(): ReadonlyMap<string, Stamps> {
    return this.#found;
  }

  /** A process asked for a number: its own, that of a thread, or its parent's. */
  told(process: number, id: number): void {
    const own = this.#told.get(process);
    if (own === undefined) this.#told.set(process, new Set([String(id)]));
    else own.add(String(id));
  }

  fork(parent: number, child: number): void {
    this.#told.set(child, new Set(this.#told.get(parent)));
  }

  /** A process made a name, `nanos` after the start of the recording; `isPrivate`: as temporary files are made. */
  made(process: number, path: string, nanos: number, isPrivate = false): void {
    const name = path.slice(path.lastIndexOf("/") + 1);
    const stamps = new Map<string, string>();
    for (const word of name.match(/[0-9A-Za-z]+/g) ?? []) {
      const form =
        this.#pidForm(word, process) ??
        (this.#isTime(word, nanos) ? "*" : this.#dayForm(word, nanos));
      if (form !== undefined) stamps.set(word, form);
    }
    const known = this.#found.get(path);
    const agreed = known === undefined ? stamps : [...stamps].filter(([word]) => known.has(word));
    const kept = new Map(agreed);
    // It has its name from whoever made it first.
    const whole = known ?? (isPrivate ? privateForms(name) : new Map<string, string>());
    for (const key of [ANYWHERE, AMONG_TEMPORARY]) {
      const form = whole.get(key);
      if (form !== undefined) kept.set(key, form);
    }
    this.#found.set(path, kept);
  }

  /** The form of a word that is a number which the process was told, or ends with one in hexadecimal. */
  #pidForm(word: string, process: number): string | undefined {
    const told = this.#told.get(process);
    if (told === undefined) return undefined;
    if (PID_DIGITS.test(word) && told.has(word)) return "@{pid}";
    if (PID_HEX.test(word)) return told.has(String(Number.parseInt(word, 16))) ? "*" : undefined;
    const [, head = "", digits = ""] = PID_TAIL.exec(word) ?? [];
    return told.has(String(Number.parseInt(digits, 16))) ? `${head}*` : undefined;
  }

  /** The form of a word with the day on which it was written, wherever that was. */
  #dayForm(word: string, nanos: number): string | undefined {
    const [, head = "", day] = DAY_WORD.exec(word) ?? [];
    if (day === undefined) return undefined;
    const { startSeconds, startNanos } = this.#start;
    const { seconds } = wallClock(startSeconds, startNanos, nanos);
    const [first, last] = [startSeconds + ZONES[0], seconds + ZONES[1]].map((moment) =>
      new Date(moment * 1e3).toISOString().slice(0, 10).replaceAll("-", ""),
    );
    return first !== undefined && last !== undefined && first <= day && day <= last
      ? `${head}*`
      : undefined;
  }

  /** Whether a word is the time at which it was written, or one since the recording began. */
  #isTime(word: string, nanos: number): boolean {
    if (!TIME_WORD.test(word)) return false;
    const { startSeconds, startNanos } = this.#start;
    const { seconds } = wallClock(startSeconds, startNanos, nanos);
    return RADIXES.filter(([, digits]) => digits.test(word)).some(([radix]) => {
      const value = Number.parseInt(word, radix);
      return UNITS.some(
        (unit) => value / unit > startSeconds - SLACK && value / unit < seconds + SLACK,
      );
    });
  }
}

function privateForms(name: string): Map<string, string> {
  const forms = new Map<string, string>();
  const plain = PLAIN_PYTHON_NAME.exec(name);
  if (plain !== null) return forms.set(AMONG_TEMPORARY, `tmp*${plain[1]}`);
  const [libc, python] = [LIBC_NAME, PYTHON_NAME].map((form) => form.exec(name));
  // Of eight characters the second may be an underscore, behind which six are left.
  const found = python ?? libc;
  if (found) forms.set(AMONG_TEMPORARY, `${found[1]}*${found[3]}`);
  const random = libc ?? (/\d|_/.test(python?.[2] ?? "") ? python : null);
  if (random?.[1]) forms.set(ANYWHERE, `${random[1]}*${random[3]}`);
  return forms;
}

/** Stamps by object, of those that have them in each run that made them: a name that two runs made is of neither. */
export function agreedStamps(
  runs: ReadonlyMap<string, ReadonlyMap<number, Stamps>>,
): ReadonlyMap<string, Stamps> {
  const agreed = new Map<string, Stamps>();
  for (const [object, byRun] of runs) {
    const [first = new Map(), ...others] = byRun.values();
    const isOfOneRun = others.length === 0;
    const stamps = [...first].filter(([word]) =>
      word.startsWith("/") ? isOfOneRun : others.every((other) => other.has(word)),
    );
    if (stamps.length > 0) agreed.set(object, new Map(stamps));
  }
  return agreed;
}

/** The name with what stands for its stamps; `isScratch`: in a directory for temporary files. */
export function withoutStamps(name: string, stamps: Stamps, isScratch = false): string {
  const whole = (isScratch ? stamps.get(AMONG_TEMPORARY) : undefined) ?? stamps.get(ANYWHERE);
  return (whole ?? name).replace(/[0-9A-Za-z]+/g, (word) => stamps.get(word) ?? word);
}
