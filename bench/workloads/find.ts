/** A walk over a tree that asks for the size of every file. */

import { join } from "node:path";
import { makeTree } from "../material.js";
import type { Workload } from "../workload.js";

export const workload: Workload = {
  title: "find by size",
  programs: ["find"],
  share: 0.06,
  prepare: ({ dir, amount }) => {
    makeTree(join(dir, "tree"), amount(400_000));
    return { argv: ["find", "tree", "-type", "f", "-size", "+2k"] };
  },
};
