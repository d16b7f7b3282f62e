/** What a program is called where there is room for one word. */

import type { ProgramStart } from "../trace/history.js";

/** The last part of what it was started as, since one file may be many programs (busybox, links); else of its file. */
export function programName(program: ProgramStart | undefined): string {
  const last = (path: string | undefined) => path?.split("/").at(-1) ?? "";
  return last(program?.argv[0]?.replace(/^-/, "")) || last(program?.path) || "?";
}
