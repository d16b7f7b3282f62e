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

/** A new directory whose name begins so. */
export function temporaryDirectory(prefix: string): string {
  return minded(mkdtempSync(prefix), true);
}

/** A file that will be made there. A directory of that name is not ours, and stays. */
export function temporaryFile(path: string): string {
  return minded(path, false);
}

function minded(place: string, isDirectory: boolean): string {
  if (places.size === 0) {
    process.on("exit", removeAllTemporary);
    for (const name of ENDING) process.on(name, ended);
  }
  places.set(place, isDirectory);
  return place;
}

export function removeTemporary(place: string): void {
  const recursive = places.get(place) === true;
  places.delete(place);
  if (places.size === 0) {
    process.off("exit", removeAllTemporary);
    for (const name of ENDING) process.off(name, ended);
  }
  const isOthers = !recursive && statSync(place, { throwIfNoEntry: false })?.isDirectory();
  // Other threads may be writing to a directory still.
  const again = recursive ? { maxRetries: 5, retryDelay: 20 } : {};
  if (isOthers !== true) rmSync(place, { recursive, force: true, ...again });
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
