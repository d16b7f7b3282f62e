/** Output that is whole or not there: what was begun is taken back when something fails, and when a signal ends the command. */

import { constants } from "node:os";
import { ENDING } from "../temporary.js";

export interface Unfinished {
  /** Whether there is something to take back. What went into a stream or a device is gone. */
  readonly hasDraft: boolean;
  /** Makes it whole. */
  finish(): Promise<void>;
  /** Leaves nothing behind. */
  abandon(): Promise<void>;
}

/** Fills the output and makes it whole. Gives back the signal that came before it was, by which the command ends then. */
export async function whole(
  output: Unfinished,
  fill: () => Promise<void>,
): Promise<{ readonly signal: number } | undefined> {
  const ending = output.hasDraft ? signalled() : undefined;
  const filled = fill().then(() => output.finish());
  try {
    const signal = await Promise.race([filled, ...(ending === undefined ? [] : [ending.signal])]);
    if (signal === undefined) return undefined;
    // What is being written meanwhile fails, which nobody has to know.
    filled.catch(() => {});
    await output.abandon();
    return { signal };
  } catch (error) {
    await output.abandon();
    throw error;
  } finally {
    ending?.forget();
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
