/** Parsers for option values that several commands share. See `OptionDef.parse`. */

import { usageError } from "../errors.js";
import { readNumber } from "../query/filter/units.js";

/** Collects a repeated option into a list: `-e open -e close`. */
export function collect(text: string, previous: unknown): string[] {
  return Array.isArray(previous) ? [...(previous as string[]), text] : [text];
}

const unitMillis: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  "": 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A span of time in milliseconds: `30` or `30s`, `500ms`, `1.5m`, `2h`. */
export function timeSpan(text: string): number {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h|)$/.exec(text) ?? [];
  const millis = Math.ceil(Number(number) * (unitMillis[unit] ?? 0));
  if (number !== "" && millis > 0 && millis <= MOST_MILLIS) return millis;
  throw usageError("not a span of time", "seconds, or with a unit: 30, 500ms, 10m, 2h");
}

/** What a timer can wait. */
const MOST_MILLIS = 2 ** 31 - 1;

/** A number of bytes: `500M`, `2GiB`, as filters write sizes. */
export function byteSize(text: string): number {
  const value = readNumber(text);
  if (typeof value === "number" && value > 0) return value;
  throw usageError("not a size", "bytes, or with a unit: 500M, 2G");
}

/** A whole number from `min` to `max`, written in decimal. */
export function wholeNumber(min = 0, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
    const isHuge = Math.abs(value) > Number.MAX_SAFE_INTEGER;
    const upper = max === Number.MAX_SAFE_INTEGER && !isHuge ? "" : ` to ${max}`;
    throw usageError(`not a whole number from ${min}${upper}`);
  };
}
