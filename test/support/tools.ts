/** Programs of the system that some tests need, and that a fresh machine may not have. */

import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/**
 * True if the test has to be left out because `name` is not installed. Never in continuous
 * integration, which installs everything: there, a missing program is a failure.
 */
export function lacking(name: string): boolean {
  const ci = process.env.CI ?? "";
  return (ci === "" || ci === "false") && findProgram(name) === undefined;
}

/** The path of a program as a shell would find it. */
export function findProgram(name: string): string | undefined {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}
