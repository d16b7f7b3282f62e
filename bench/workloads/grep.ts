/** A search through a tree of small files. */

import { join } from "node:path";
import { makeTree } from "../material.js";
import type { Workload } from "../workload.js";

export const workload: Workload = {
  title: "grep -r",
  programs: ["grep"],
  share: 0.06,
  prepare: ({ dir, amount }) => {
    makeTree(join(dir, "tree"), amount(220_000));
    return { argv: ["grep", "-r", "-c", "process", "tree"] };
  },
};
