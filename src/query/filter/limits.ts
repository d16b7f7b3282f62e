/** What a filter may cost. Beyond a limit there is an error, never a slow or failing evaluation. */

/** UTF-16 units of a whole filter. */
export const MAX_TEXT = 65_536;
/** Parentheses and `not`s inside each other. */
export const MAX_DEPTH = 100;
/** UTF-16 units of one regular expression. */
export const MAX_REGEX = 256;
/** Parentheses inside each other in one regular expression. */
export const MAX_REGEX_DEPTH = 32;
/** Steps of one compiled regular expression; `x{50}` counts fifty times. */
export const MAX_REGEX_STEPS = 1_000;
/** UTF-16 units of one glob pattern. */
export const MAX_GLOB = 256;
