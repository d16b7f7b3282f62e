/**
 * The form that two objects have in common whose names are new in each run: equal parts stay, and what differs becomes `*`. What
 * two random words share by chance is part of what differs.
 */

import { asOne } from "./made_up.js";

/**
 * The form of two objects that differ in at most two names; undefined when they have none. `isMade`: both were made in a
 * directory for temporary files.
 */
export function commonForm(one: string, other: string, isMade = false): string | undefined {
  const left = one.split("/");
  const right = other.split("/");
  if (left.length !== right.length || one === other) return undefined;
  const names = rootLength(left);
  let differences = 0;
  const parts: string[] = [];
  for (let k = 0; k < left.length; k++) {
    const a = left[k] ?? "";
    const b = right[k] ?? "";
    if (a === b) parts.push(a);
    else {
      differences++;
      if (differences > 2 || k < names) return undefined;
      const name = commonName(a, b, isMade);
      if (name === undefined) return undefined;
      parts.push(name);
    }
  }
  return parts.join("/");
}

/** Parts of a path that are no names of runs: those of the root directory, or a token, which is a directory. */
export function rootLength(parts: readonly string[]): number {
  return /^(?:unix:)?$/.test(parts[0] ?? "") ? 2 : 1;
}

/** That of them which says most. */
export function longest(forms: readonly (string | undefined)[]): string | undefined {
  const plain = (form: string) => form.replaceAll("*", "").length;
  return forms.reduce<string | undefined>(
    (best, form) =>
      form !== undefined && (best === undefined || plain(form) > plain(best)) ? form : best,
    undefined,
  );
}

/** Names of about one length, and with digits or mixed letters where they differ. */
function commonName(a: string, b: string, isMade: boolean): string | undefined {
  if (Math.abs(a.length - b.length) > 2) return undefined;
  const [head, tail] = commonEnds(a, b);
  const middles = [a.slice(head, a.length - tail), b.slice(head, b.length - tail)];
  if (middles.some((text) => /\.[a-z]|[\\*]/.test(text))) return undefined;
  const isLong = middles.every((text) => text.length >= 6);
  const hasFrame = isLong && (head + tail > 0 || (isMade && a.length === b.length));
  const isRandom = middles.every(
    (text) => /\d|[A-Z]/.test(text) || /^[0-9a-f]{2,}$/.test(text) || hasFrame,
  );
  if (!isRandom) return undefined;
  return asOne(`${a.slice(0, head)}*${a.slice(a.length - tail)}`);
}

/** Lengths of what two names begin and end with alike. What two numbers share by chance does not count. */
function commonEnds(a: string, b: string): [head: number, tail: number] {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  const most = Math.min(a.length, b.length) - head;
  while (tail < most && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const isHexadecimal = [a, b].every((name) => {
    const word = wordAround(name, head, name.length - tail);
    return /^[0-9a-f]+$/.test(word) && /\d/.test(word);
  });
  const [before, behind] = isHexadecimal ? [/[0-9a-f]*$/, /^[0-9a-f]*/] : [/\d*$/, /^\d*/];
  const differ = (at: (name: string) => string | undefined) =>
    isHexadecimal || /\d/.test(`${at(a) ?? ""}${at(b) ?? ""}`);
  const first = (name: string) => name.slice(head, name.length - tail)[0];
  const last = (name: string) => name.slice(head, name.length - tail).at(-1);
  const chance = [
    differ(first) ? (before.exec(a.slice(0, head))?.[0].length ?? 0) : 0,
    differ(last) ? (behind.exec(a.slice(a.length - tail))?.[0].length ?? 0) : 0,
  ] as const;
  const random = chanceInWord(a, b, head, tail);
  return [head - Math.max(chance[0], random[0]), tail - Math.max(chance[1], random[1])];
}

/**
 * How many letters and digits two random words of one length begin and end with alike by chance: few, next to four or more that
 * differ. Letters at the beginning are mostly meant.
 */
function chanceInWord(a: string, b: string, head: number, tail: number): [number, number] {
  const own = [a, b].map((name) => name.slice(head, name.length - tail));
  const before = /[0-9A-Za-z]*$/.exec(a.slice(0, head))?.[0] ?? "";
  const behind = /^[0-9A-Za-z]*/.exec(a.slice(a.length - tail))?.[0] ?? "";
  const isRandom = (edge: RegExp, shared: string) => {
    const words = own.map((text) => edge.exec(text)?.[0] ?? "");
    return (
      words.every((word) => word.length >= 4 && word.length === words[0]?.length) &&
      words.every((word) => /\d/.test(word + shared) && /[A-Za-z]/.test(word + shared))
    );
  };
  const isChance = /^(?:\d.?|.\d)$/;
  const hasTail = isChance.test(behind) || behind.length === 1;
  const isOneWord = own.every((text) => /^[0-9A-Za-z]*$/.test(text));
  const around = isOneWord ? before + behind : "";
  // Of words of letters one at an end is alike in every thirteenth pair.
  if (own.every((text) => /^[A-Za-z]{5,}$/.test(text)) && own[0]?.length === own[1]?.length)
    return [before.length === 1 ? 1 : 0, behind.length === 1 ? 1 : 0];
  return [
    isChance.test(before) && isRandom(/^[0-9A-Za-z]*/, before + around) ? before.length : 0,
    hasTail && isRandom(/[0-9A-Za-z]*$/, behind + around) ? behind.length : 0,
  ];
}

/** The letters and digits from `from` to `to`, and those next to them. */
function wordAround(name: string, from: number, to: number): string {
  const before = /[0-9A-Za-z]*$/.exec(name.slice(0, from))?.[0] ?? "";
  const behind = /^[0-9A-Za-z]*/.exec(name.slice(to))?.[0] ?? "";
  return before + name.slice(from, to) + behind;
}
