/** An archive of a tree of small files. */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { makeTree } from "../material.js";
import type { Workload } from "../workload.js";

export const workload: Workload = {
  title: "tar of a tree",
  programs: ["tar"],
  share: 0.1,
  prepare: ({ dir, amount }) => {
    makeTree(join(dir, "tree"), amount(140_000));
    return {
      argv: ["tar", "-cf", "tree.tar", "tree"],
      reset: () => rmSync(join(dir, "tree.tar"), { force: true }),
    };
  },
};
