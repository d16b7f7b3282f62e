/**
 * The fixtures whose traces cannot be replayed, each with the reason that `trace replay` has to give. One that is replayed
 * after all fails its test, and then leaves this list.
 */
export const REFUSED: ReadonlyMap<string, RegExp> = new Map();
