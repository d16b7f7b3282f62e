/**
 * Files and directories that are there for this process alone. They are removed when it ends, also by a signal that nobody else minds:
 * whoever has a handler for it decides what becomes of the process, and of what is in them.
 */

import { mkdtempSync, rmSync, statSync } from "node:fs";
import { native } from "./native.js";

/** Signals that end a process and leave it the time to clear away. */
export const ENDING = ["SIGHUP", "SIGINT", "SIGTERM"] as const;

/** What is to be removed, and whether it is a directory of ours, which goes with all that is in it. */
const places = new Map<string, boolean>();

let areMinded = false;

/** A new directory whose name begins so. */
export function temporaryDirectory(prefix: string): string {
  // Before it is there: a signal that nobody minds ends the process at once.
  mindSignals();
  try {
    const place = mkdtempSync(prefix);
    places.set(place, true);
    return place;
  } finally {
    leaveSignals();
  }
}

/** A file that will be made there. A directory of that name is not ours, and stays. */
export function temporaryFile(path: string): string {
  mindSignals();
  places.set(path, false);
  return path;
}

function mindSignals(): void {
  if (areMinded) return;
  areMinded = true;
  process.on("exit", removeAllTemporary);
  for (const name of ENDING) process.on(name, ended);
}

/** Once there is nothing to remove. One that has come until now is heard of before. */
function leaveSignals(): void {
  setImmediate(() => {
    if (places.size > 0 || !areMinded) return;
    areMinded = false;
    process.off("exit", removeAllTemporary);
    for (const name of ENDING) process.off(name, ended);
  });
}

export function removeTemporary(place: string): void {
  const recursive = places.get(place) === true;
  const isOthers = !recursive && statSync(place, { throwIfNoEntry: false })?.isDirectory();
  // Other threads may be writing to a directory still.
  const again = recursive ? { maxRetries: 5, retryDelay: 20 } : {};
  try {
    if (isOthers !== true) rmSync(place, { recursive, force: true, ...again });
  } finally {
    places.delete(place);
    leaveSignals();
  }
}

/** For who ends this process in a way of which node knows nothing. */
export function removeAllTemporary(): void {
  for (const place of places.keys()) {
    try {
      removeTemporary(place);
    } catch {
      // It stays; the others need not.
    }
  }
}

function ended(name: NodeJS.Signals, signal: number): void {
  if (process.listenerCount(name) > 1) return;
  removeAllTemporary();
  native().dieBySignal(signal);
}
