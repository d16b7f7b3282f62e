/** What ELF files say about themselves, as the engine reads it from their content. */

import type { NativeElfFacts } from "../native.js";
import type { Trace } from "../trace/trace.js";
import type { Loaded } from "./images.js";

/** See native/src/elf.rs; `debugFile` is a separate file with the debug information that is on this machine. */
export type ElfFacts = NativeElfFacts;

/** Facts by the hash of the content. What is neither in the trace nor in the object store is not there. */
export type FactsByHash = ReadonlyMap<string, ElfFacts>;

export async function factsOf(trace: Trace, programs: readonly Loaded[]): Promise<FactsByHash> {
  const paths = new Map<string, string>();
  for (const { images } of programs) {
    for (const { hash, path } of images) if (hash !== "") paths.set(hash, path);
  }
  return trace.elfFacts(paths);
}
