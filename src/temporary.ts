/**
 * Files and directories that are there for this process alone. They are removed when it ends, also by a signal that nobody else minds:
 * whoever has a handler for it decides what becomes of the process, and of what is in them.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { native } from "./native.js";

/** Signals that end a process and leave it the time to clear away. */
export const ENDING = ["SIGHUP", "SIGINT", "SIGTERM"] as const;

const places = new Set<string>();

/** A new directory whose name begins so. */
export function temporaryDirectory(prefix: string): string {
  return temporary(mkdtempSync(prefix));
}

/** Has whatever is there removed at the end. */
export function temporary(place: string): string {
  if (places.size === 0) {
    process.on("exit", removeAllTemporary);
    for (const name of ENDING) process.on(name, ended);
  }
  places.add(place);
  return place;
}

export function removeTemporary(place: string): void {
  places.delete(place);
  if (places.size === 0) {
    process.off("exit", removeAllTemporary);
    for (const name of ENDING) process.off(name, ended);
  }
  rmSync(place, { recursive: true, force: true });
}

/** For who ends this process in a way of which node knows nothing. */
export function removeAllTemporary(): void {
  for (const place of places) {
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
