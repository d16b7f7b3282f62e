/** A result for a terminal: the verdict, the first cause, what differs by kind, then the events. */

import { type Painter, plainPainter } from "../../report/color.js";
import { cut, cutMiddle, printable, width, wrap } from "../../report/text.js";
import { counted, humanCount, humanDuration } from "../../report/units.js";
import { siteText } from "../../stacks/kept.js";
import type { Cause, ContextLine, Difference, DiffResult, FileChange } from "../result.js";
import { ANOTHER_SECRET, inBoth, lonePhrase, phrase, processText, weightOf } from "../words.js";

export const SECTIONS = ["stat", "files", "execs", "net", "events"] as const;
export type Section = (typeof SECTIONS)[number];

export interface TextOptions {
  readonly paint: Painter;
  readonly width: number;
  /** Sections that are shown alone; none: all, the long ones cut short. */
  readonly only: readonly Section[];
  /** Rows of a section. */
  readonly limit: number;
}

export const TEXT: TextOptions = {
  paint: plainPainter,
  width: 100,
  only: [],
  limit: 12,
};

export function diffText(result: DiffResult, options: TextOptions = TEXT): string {
  return new TextReport(result, options).text();
}

class TextReport {
  readonly #r: DiffResult;
  readonly #o: TextOptions;
  readonly #lines: string[] = [];

  constructor(result: DiffResult, options: TextOptions) {
    this.#r = result;
    this.#o = { ...options, width: Math.min(options.width, 160) };
  }

  text(): string {
    const { only } = this.#o;
    const wants = (section: Section) => only.length === 0 || only.includes(section);
    this.#head();
    if (only.length === 0) this.#causes();
    if (wants("files")) this.#files();
    if (wants("execs")) this.#programs();
    if (wants("net")) this.#net();
    if (wants("stat")) this.#counts();
    if (wants("events")) this.#events();
    if (only.length === 0) this.#foot();
    return `${this.#lines.join("\n")}\n`;
  }

  #put(line: string): void {
    this.#lines.push(line.replace(/ +$/, ""));
  }

  /** One line, cut to the terminal. */
  #row(indent: number, text: string, style?: Parameters<Painter>[0]): void {
    const shown = cut(printable(text), this.#o.width - indent);
    this.#put(" ".repeat(indent) + (style === undefined ? shown : this.#o.paint(style, shown)));
  }

  /** As many lines as it takes. */
  #prose(indent: number, text: string, style?: Parameters<Painter>[0]): void {
    for (const line of wrap(printable(text), this.#o.width - indent)) {
      this.#put(" ".repeat(indent) + (style === undefined ? line : this.#o.paint(style, line)));
    }
  }

  #section(title: string): void {
    this.#put("");
    this.#put(this.#o.paint("bold", title));
  }

  #head(): void {
    const { verdict, summary, a, b, notes, maps } = this.#r;
    const same = verdict === "same";
    const [word, rest] = [
      summary.slice(0, summary.indexOf(":")),
      summary.slice(summary.indexOf(":")),
    ];
    this.#put(this.#o.paint(same ? "green" : "red", word) + rest);
    for (const [label, side] of [["A", a] as const, ["B", b] as const]) {
      const facts = `${humanCount(side.events)} events, ${humanDuration(side.duration)}`;
      const path = cutMiddle(printable(side.path), Math.max(20, this.#o.width - width(facts) - 8));
      this.#put(`  ${this.#o.paint("cyan", label)} ${path}  ${this.#o.paint("dim", facts)}`);
    }
    for (const note of notes) this.#prose(2, `note: ${note}`, "yellow");
    for (const { what, a: one, b: other } of maps) {
      this.#row(2, `${what}: ${other} in B is ${one} in A`, "dim");
    }
  }

  #causes(): void {
    const { firstCause, otherCauses } = this.#r;
    if (firstCause === undefined) return;
    this.#section("first cause");
    this.#prose(2, firstCause.summary);
    this.#diffLines(firstCause.lines, 4, 8);
    this.#context(firstCause);
    if (firstCause.consequences.length > 0) {
      this.#put(this.#o.paint("dim", "  then"));
      for (const line of firstCause.consequences) this.#row(4, line);
    }
    if (otherCauses.length === 0) return;
    this.#section("besides, from outside");
    for (const cause of otherCauses) this.#row(2, cause.summary);
  }

  #diffLines(lines: readonly string[], indent: number, most: number): void {
    for (const line of lines.slice(0, most)) {
      const style = line[0] === "-" ? "red" : line[0] === "+" ? "green" : "dim";
      this.#row(indent, line, style);
    }
    if (lines.length > most) this.#row(indent, `... ${lines.length - most} more lines`, "dim");
  }

  #context({ contextA, contextB }: Cause): void {
    for (const [label, lines] of [["A", contextA] as const, ["B", contextB] as const]) {
      lines.forEach((line, k) => {
        this.#contextLine(k === 0 ? label : " ", line);
      });
    }
  }

  #contextLine(label: string, { seq, thread, text, mark, source }: ContextLine): void {
    const head = `${label} ${mark ? ">" : " "} ${`@${seq}`.padEnd(7)} ${thread.padEnd(5)}`;
    const shown = cut(printable(text), this.#o.width - width(head) - 3);
    this.#put(`  ${this.#o.paint(mark ? "bold" : "dim", `${head} ${shown}`)}`);
    if (mark && source !== undefined) this.#row(width(head) + 3, `at ${siteText(source)}`);
  }

  #more(shown: number, all: number, flag: string): void {
    if (all > shown) this.#row(2, `${humanCount(all - shown)} more: --${flag}`, "dim");
  }

  #files(): void {
    const { files } = this.#r;
    if (files.length === 0) return;
    this.#section("files");
    const limit = this.#limit("files");
    for (const file of files.slice(0, limit)) this.#file(file);
    this.#more(limit, files.length, "files");
  }

  #limit(section: Section): number {
    return this.#o.only.includes(section) ? Number.POSITIVE_INFINITY : this.#o.limit;
  }

  #file({ path, what, only, note }: FileChange): void {
    const sign = only === "a" ? "-" : only === "b" ? "+" : "~";
    const room = this.#o.width - 16;
    const shown = cutMiddle(
      printable(path),
      Math.max(24, Math.min(width(path), room - Math.min(width(note), 40) - 2)),
    );
    const tail =
      note === "" ? "" : `  ${cut(printable(note), Math.max(12, room - width(shown) - 2))}`;
    const style = only === "a" ? "red" : only === "b" ? "green" : "yellow";
    this.#put(
      `  ${this.#o.paint(style, sign)} ${what.padEnd(11)} ${shown}${this.#o.paint("dim", tail)}`,
    );
  }

  #programs(): void {
    const { programs, starts } = this.#r;
    if (programs.length + starts.length === 0) return;
    this.#section("programs");
    const limit = this.#limit("execs");
    for (const lone of programs.slice(0, limit)) {
      const style = lone.only === "a" ? "red" : "green";
      this.#row(2, `${lone.only === "a" ? "-" : "+"} ${lonePhrase(lone)}`, style);
    }
    this.#more(limit, programs.length, "execs");
    for (const { process, aspects } of starts.slice(0, limit)) {
      this.#row(2, `~ ${processText(process)}`, "yellow");
      for (const aspect of aspects.slice(0, 8)) {
        const change = aspect.a === aspect.b ? ANOTHER_SECRET : inBoth(aspect);
        this.#row(6, `${aspect.what}: ${change}`);
      }
    }
  }

  #net(): void {
    const { net } = this.#r;
    if (net.length === 0) return;
    this.#section("network");
    const limit = this.#limit("net");
    for (const { address, what, only } of net.slice(0, limit)) {
      const [sign, style] =
        only === "a"
          ? ["-", "red" as const]
          : only === "b"
            ? ["+", "green" as const]
            : ["~", "yellow" as const];
      this.#row(2, `${sign} ${what.padEnd(11)} ${address}`, style);
    }
    this.#more(limit, net.length, "net");
  }

  #counts(): void {
    const { counts } = this.#r;
    if (counts.length === 0 || (this.#r.verdict === "same" && this.#o.only.length === 0)) return;
    this.#section("counts");
    for (const { what, a, b, unit } of counts.slice(0, this.#o.only.length > 0 ? 100 : 4)) {
      const text = (value: number) => (unit === "ns" ? humanDuration(value) : humanCount(value));
      this.#row(2, `${what.padEnd(14)} ${text(a)} -> ${text(b)}`);
    }
  }

  #events(): void {
    const { differences, more } = this.#r;
    if (differences.length === 0) return;
    const all = this.#o.only.includes("events");
    const rows = all ? grouped(differences) : grouped(ranked(differences));
    const count = differences.length + more;
    this.#section(`${counted(count, "event")} that ${count === 1 ? "differs" : "differ"}`);
    const limit = this.#limit("events");
    let process = "";
    for (const { one, times } of rows.slice(0, limit)) {
      const own = processText(one.process);
      if (own !== process) this.#row(2, own, "cyan");
      process = own;
      this.#event(one, times, all);
    }
    this.#more(limit, rows.length, "events");
  }

  #event(one: Difference, times: number, all: boolean): void {
    const sign = { removed: "-", added: "+", changed: "~", moved: ">", time: "t" }[one.kind];
    const style = one.kind === "removed" ? "red" : one.kind === "added" ? "green" : "yellow";
    const often = times > 1 ? ` (${times} times)` : "";
    const numbers = [one.a && `@${one.a.seq}`, one.b && `@${one.b.seq}`].filter(Boolean).join(" ");
    const text = cut(printable(phrase(one) + often), this.#o.width - width(numbers) - 8);
    this.#put(`    ${this.#o.paint(style, sign)} ${text}  ${this.#o.paint("dim", numbers)}`);
    for (const [label, ref] of [["A", one.a] as const, ["B", one.b] as const]) {
      if (ref?.source !== undefined) this.#row(8, `${label} at ${siteText(ref.source)}`, "dim");
    }
    for (const aspect of one.aspects) this.#diffLines(aspect.lines ?? [], 8, all ? 24 : 4);
    if (!all) return;
    for (const [label, ref] of [["A", one.a] as const, ["B", one.b] as const]) {
      if (ref !== undefined) this.#row(8, `${label} ${ref.text}`, "dim");
    }
  }

  #foot(): void {
    const { explained, totals } = this.#r;
    const rules = Object.entries(explained).filter(([, count]) => count > 0);
    const parts = rules.map(([name, count]) => `${name} ${humanCount(count)}`);
    if (totals.moved > 0) parts.push(`in another order ${humanCount(totals.moved)}`);
    if (parts.length === 0) return;
    this.#put("");
    this.#prose(0, `looked different, but is not by the rules: ${parts.join(", ")}`, "dim");
  }
}

/** Neighbours that read alike, as one row. */
export function grouped(differences: readonly Difference[]): { one: Difference; times: number }[] {
  const rows: { one: Difference; times: number; text: string }[] = [];
  for (const one of differences) {
    const text = `${processText(one.process)} ${one.kind} ${phrase(one)}`;
    const last = rows.at(-1);
    if (last?.text === text) last.times += 1;
    else rows.push({ one, times: 1, text });
  }
  return rows;
}

/** The most telling first, each kind in the order of the trace. */
function ranked(differences: readonly Difference[]): Difference[] {
  return differences
    .map((one, k) => ({ one, k }))
    .sort((x, y) => weightOf(x.one) - weightOf(y.one) || x.k - y.k)
    .map(({ one }) => one);
}
