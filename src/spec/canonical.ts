/** Paths as the kernel sees them: links on the way followed. */

import { realpathSync } from "node:fs";
import { dirname } from "node:path";

/** The path behind links, as far as it exists. */
export function canonical(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    const parent = dirname(path);
    if (parent === path) return path;
    const base = canonical(parent);
    return `${base === "/" ? "" : base}/${path.slice(path.lastIndexOf("/") + 1)}`;
  }
}

/**
 * Whether a name leads to this process where the program would come to itself: it says nothing of what the program may reach.
 * (The standard streams it has in common with the program.)
 */
export function isOfThisProcess(path: string): boolean {
  const isOwn = (name: string) => /^\/(?:proc\/(?:self|thread-self)|dev\/fd)(?:\/|$)/.test(name);
  return isOwn(path) || `${canonical(path)}/`.startsWith(`/proc/${process.pid}/`);
}
