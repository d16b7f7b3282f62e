/** Counts on the command line. */

/**
 * The value of option `--name`.
 *
 * @throws Error when it is no whole number, or less than `least`
 */
export function countOption(name: string, text: string, least = 1): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(value) || value < least)
    throw new Error(`--${name} ${text}: not a count of at least ${least}`);
  return value;
}
