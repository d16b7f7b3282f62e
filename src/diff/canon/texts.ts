/**
 * Texts of one trace as the other would have them: places, temporary names, process ids, and what else the kernel or the
 * clock chose. For texts that are looked at one by one: arguments, environment, and bytes that differ.
 */

import type { Places } from "../places.js";
import type { RuleSet } from "../rules.js";

export interface TextFacts {
  readonly rules: RuleSet;
  /** Of the second trace; undefined for the first. */
  readonly places: Places | undefined;
  /** Process and thread ids of the trace. */
  readonly pids: ReadonlySet<string>;
  /** Ports that the kernel chose. */
  readonly ports: ReadonlySet<string>;
  /** System V ids that it was given. */
  readonly ids: ReadonlySet<string>;
  /** When the recording began and ended, in seconds since 1970. */
  readonly from: number;
  readonly to: number;
}

const ADDRESS = /\b0x[0-9a-f]{6,16}\b/g;
export const UUID = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi;
/** Dates and times of day, with what stands between. */
const CLOCK =
  /\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?(?:\d{4}-\d\d-\d\d[T _])?(?:(?:\d{1,2} )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (?:\d{1,2} |\d{4} ))?\d{1,2}:\d\d:\d\d(?:[.,]\d+)?(?: (?:[A-Z]{3,4}|[+-]\d{4}))?(?: \d{4})?(?:Z|[+-]\d\d:?\d\d)?/g;
/** Times and days in names of files, `18-50-41`, `18_50_41_001Z`, `2026-11-26`: taken out when they are those of the run. */
const DASHED = /(?<!\d)(?:[01]?\d|2[0-3])([-._])([0-5]\d)\1([0-5]\d)(?:[-._,]\d{3,9}Z?)?(?!\d)/g;
/** A day and a time without separators, `20261126T185041Z`, `20261126-185041`, with a fraction perhaps: likewise. */
const COMPACT =
  /(?<!\d)(\d{4})(\d\d)(\d\d)[T_-]?(?:[01]\d|2[0-3])([0-5]\d)([0-5]\d)(?:[.,]\d+)?Z?(?!\d)/g;
/** A day of some year and a time, `1126/185041.123456`: likewise. */
const YEARLESS =
  /(?<!\d)(?:0\d|1[0-2])[0-3]\d[/T_-](?:[01]\d|2[0-3])([0-5]\d)([0-5]\d)(?:[.,]\d+)?(?!\d)/g;
const DAY = /(?<!\d)(\d{4})([-./]?)(\d\d)\2(\d\d)(?!\d)/g;
/** Seconds by which a program's clock may be off. */
const OFF = 2;
/** Spans of time: 1.23s, 12 ms, 0.1 seconds, 2min. */
const SPAN = /\b\d+(?:[.,]\d+)? ?(?:ns|us|µs|ms|s|sec|secs|seconds?|milliseconds?|min)\b/g;
const NUMBER = /\d+/g;
/** Seconds (with a fraction), milliseconds, micro- and nanoseconds since 1970, of the years 2001 to 2096. */
const EPOCH = /(?<![\w.])[1-3]\d{9}(?:\.\d+|\d{3}|\d{6}|\d{9})?(?!\d)/g;
/** The same in names of files, `core.1700000000`. */
const STAMP = /(?<!\d)[1-3]\d{9}(?:\d{3}|\d{6}|\d{9})?(?!\d)/g;

export class CanonicalTexts {
  readonly #facts: TextFacts;
  /** Temporary names, and what stands for them; the longest first. */
  #temporary: readonly (readonly [name: string, stands: string])[] = [];

  constructor(facts: TextFacts) {
    this.#facts = facts;
  }

  set temporary(names: ReadonlyMap<string, string>) {
    const found = new Map(names);
    for (const [name, stands] of names) {
      const base = name.slice(name.lastIndexOf("/") + 1);
      if (base.length >= 6) found.set(base, stands.slice(stands.lastIndexOf("/") + 1));
    }
    this.#temporary = [...found].sort((x, y) => y[0].length - x[0].length).slice(0, MOST_NAMES);
  }

  /** Paths and names in arguments and variables; numbers only where they are wanted. */
  words(text: string, numbers = true): string {
    let out = this.#facts.places?.text(text) ?? text;
    if (this.#facts.rules.has("temp-names")) {
      for (const [name, stands] of this.#temporary) {
        if (out.includes(name)) out = out.replaceAll(name, () => stands);
      }
    }
    const { rules } = this.#facts;
    if (!numbers || (!rules.has("pids") && !rules.has("ports"))) return out;
    return out.replace(NUMBER, (digits) => this.number(digits));
  }

  /** What a program wrote or read. */
  prose(text: string, numbers = true): string {
    const { rules } = this.#facts;
    let out = text;
    if (rules.has("numbers-in-text")) {
      out = out.replace(UUID, "<uuid>").replace(ADDRESS, "<address>");
      out = out.replace(CLOCK, "<time>").replace(SPAN, "<span>");
      out = this.#withoutMoments(out);
      out = out.replace(EPOCH, "<time>");
    }
    return this.words(out, numbers);
  }

  /** A name without the time of the run: of all files it is in logs and copies that are made now and then. */
  name(text: string): string {
    const { from, to } = this.#facts;
    return this.#withoutMoments(text).replace(STAMP, (found) => {
      const seconds = Number(found.slice(0, 10));
      return seconds >= from - OFF && seconds <= to + OFF ? "<time>" : found;
    });
  }

  #withoutMoments(text: string): string {
    return text
      .replace(DASHED, (found, _, minute: string, second: string) =>
        this.#isNow(Number(minute) * 60 + Number(second)) ? "<time>" : found,
      )
      .replace(
        COMPACT,
        (found, year: string, month: string, day: string, minute: string, second: string) =>
          this.#isToday(`${year}-${month}-${day}`) &&
          this.#isNow(Number(minute) * 60 + Number(second))
            ? "<time>"
            : found,
      )
      .replace(YEARLESS, (found, minute: string, second: string) =>
        this.#isNow(Number(minute) * 60 + Number(second)) ? "<time>" : found,
      )
      .replace(DAY, (found, year: string, _, month: string, day: string) =>
        this.#isToday(`${year}-${month}-${day}`) ? "<day>" : found,
      );
  }

  /** Whether the run was in that second of an hour, of whatever time zone. */
  #isNow(second: number): boolean {
    const { from, to } = this.#facts;
    const since = (((second - (from % 3600) + OFF) % 3600) + 3600) % 3600;
    return since <= to - from + 2 * OFF;
  }

  /** Whether the run was on that day, in some time zone. */
  #isToday(day: string): boolean {
    const noon = Date.parse(`${day}T12:00:00Z`) / 1000;
    return (
      Math.abs(noon - this.#facts.from) < 36 * 3600 || Math.abs(noon - this.#facts.to) < 36 * 3600
    );
  }

  /** What stands for a process id, a port, or a System V id. */
  number(digits: string): string {
    const { pids, ports, ids, rules } = this.#facts;
    if (digits.length < 2) return digits;
    if (rules.has("inodes") && digits.length > 2 && ids.has(digits)) return "<id>";
    if (rules.has("pids") && pids.has(digits)) return "<pid>";
    return rules.has("ports") && ports.has(digits) ? "<port>" : digits;
  }
}

/** Names that are looked for in each text. */
const MOST_NAMES = 5000;
