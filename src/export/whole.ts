/** Output that is whole or not there: what was begun is taken back when something fails, and when a signal ends the command. */

import { constants } from "node:os";
import { setTimeout } from "node:timers/promises";
import { ENDING } from "../temporary.js";

/** What is being opened when a signal comes is open by then, or waits for somebody. */
const SOON_MS = 200;

export interface Unfinished {
  /** Whether there is something to take back. What went into a stream or a device is gone. */
  readonly hasDraft: boolean;
  /** Makes it whole. */
  finish(): Promise<void>;
  /** Leaves nothing behind. */
  abandon(): Promise<void>;
}

/**
 * Opens an output, fills it and makes it whole. Gives back the signal that came before it was, by which the command ends then. Signals are
 * minded before there is anything to take back.
 */
export async function whole<Output extends Unfinished>(
  open: () => Promise<Output>,
  fill: (output: Output) => Promise<void>,
): Promise<{ readonly signal: number } | undefined> {
  const ending = signalled();
  try {
    const opening = open();
    const late = ending.signal.then(() => setTimeout(SOON_MS, undefined, { ref: false }));
    const output = await Promise.race([opening, late]);
    if (output === undefined) {
      // A pipe waits for its reader, who may never come.
      opening.then((output) => output.abandon()).catch(() => {});
      return { signal: await ending.signal };
    }
    if (!output.hasDraft) ending.forget();
    const filled = fill(output).then(() => output.finish());
    try {
      const signal = await Promise.race([filled, ending.signal]);
      if (signal === undefined) return undefined;
      // What is being written meanwhile fails, which nobody has to know.
      filled.catch(() => {});
      await output.abandon();
      return { signal };
    } catch (error) {
      await output.abandon();
      throw error;
    }
  } finally {
    ending.forget();
  }
}

/** The first signal of those that end a command. A second one ends it at once, as if nobody waited for any. */
function signalled(): { readonly signal: Promise<number>; readonly forget: () => void } {
  let forget = () => {};
  const signal = new Promise<number>((resolve) => {
    const handler = (name: (typeof ENDING)[number]) => {
      forget();
      resolve(constants.signals[name]);
    };
    for (const name of ENDING) process.on(name, handler);
    forget = () => {
      for (const name of ENDING) process.off(name, handler);
    };
  });
  return { signal, forget };
}
