/** The built command, or another build of it that the environment names. */

import { fileURLToPath } from "node:url";

export const cli =
  process.env.TRACE_CLI ?? fileURLToPath(new URL("../../dist/cli.cjs", import.meta.url));
