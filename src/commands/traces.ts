/** The words of commands that take any number of traces. */

import type { CommandContext } from "./command.js";
import { splitTrace } from "./selection.js";

export interface TraceWords {
  /** As the user wrote them, or the latest trace. */
  readonly paths: readonly string[];
  readonly words: readonly string[];
}

/** Splits off the traces: the words in front that name files, and all others that end in `.trace`. */
export function splitTraces(context: Pick<CommandContext, "args" | "env">): TraceWords {
  const { env } = context;
  const { path, words } = splitTrace(context);
  const paths = [path];
  let rest = words;
  while (rest.length > 0) {
    // Without a trace of its own, the next split would name the latest one.
    const next = splitTrace({ args: rest, env: { ...env, TRACE_FILE: NONE } });
    if (next.path === NONE) break;
    paths.push(next.path);
    rest = next.words;
  }
  return { paths, words: rest };
}

/** No file has that name. */
const NONE = "/dev/null/none";
