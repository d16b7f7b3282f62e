/** A build of 50 small C files and the program that they make, one after the other. */

import { makeBuild } from "../build.js";
import type { Workload } from "../workload.js";

export const workload: Workload = {
  title: "make of 50 C files",
  programs: ["make", "gcc"],
  prepare: ({ dir, amount }) => ({ argv: ["make"], reset: makeBuild(dir, amount(50)) }),
};
