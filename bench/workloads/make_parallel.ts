/** The same build with two jobs: what keeping the tracees on one CPU costs a program that uses more. */

import { makeBuild } from "../build.js";
import type { Workload } from "../workload.js";

export const workload: Workload = {
  title: "make -j2 of the same",
  programs: ["make", "gcc"],
  prepare: ({ dir, amount }) => ({ argv: ["make", "-j2"], reset: makeBuild(dir, amount(50)) }),
};
