/** The built command, or another build of it that the environment names. */

import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The program that users start. `TRACE_CLI=dist/cli.cjs` tests the command in TypeScript alone. */
export const cli =
  process.env.TRACE_CLI === undefined
    ? fileURLToPath(new URL("../../dist/trace", import.meta.url))
    : resolve(process.env.TRACE_CLI);

/** Where the command finds the node that runs these tests: for a `PATH` that is made up. */
export const nodeFolder = dirname(process.execPath);
