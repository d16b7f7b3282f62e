/** Parsers for option values that several commands share. See `OptionDef.parse`. */

import { usageError } from "../errors.js";

/** Collects a repeated option into a list: `-e open -e close`. */
export function collect(text: string, previous: unknown): string[] {
  return Array.isArray(previous) ? [...(previous as string[]), text] : [text];
}

/** A whole number from `min` to `max`, written in decimal. */
export function wholeNumber(min = 0, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
    const upper = max === Number.MAX_SAFE_INTEGER ? "" : ` to ${max}`;
    throw usageError(`not a whole number from ${min}${upper}`);
  };
}
