/** What a pattern grants besides what was used, as the directory is now. */

import { readdirSync } from "node:fs";
import { isPattern, literalPath, PathPattern } from "./object.js";
import { directoryOf } from "./places.js";

/** Largest directory that is listed to count what a pattern adds. */
const MAX_LISTED = 100_000;

/** How many names that exist now match the object and are none of the objects that were used. Only for patterns in one directory. */
export function namesAdded(object: string, used: ReadonlySet<string>): number | undefined {
  const directory = directoryOf(object);
  if (isPattern(directory) || !directory.startsWith("/")) return undefined;
  try {
    const pattern = new PathPattern(object);
    const names = readdirSync(directory).slice(0, MAX_LISTED);
    const base = directory === "/" ? "" : directory;
    const forms = [...used].filter(isForm).map((form) => new PathPattern(form));
    const paths = names.map((name) => `${base}/${name}`).filter((path) => pattern.matches(path));
    return paths.filter(
      (path) => !used.has(literalPath(path)) && !forms.some((form) => form.matches(path)),
    ).length;
  } catch {
    return undefined;
  }
}

/** Whether it stands for several names, of which some hold the number of a process. */
function isForm(object: string): boolean {
  return isPattern(object) || /(?<!\\)@\{pid\}/.test(object);
}
