/** One file through an optimising compiler: mostly computing, few calls. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { cFunction } from "../material.js";
import type { Workload } from "../workload.js";

export const workload: Workload = {
  title: "gcc -O2 -c",
  programs: ["gcc"],
  prepare: ({ dir, amount }) => {
    const functions = Array.from({ length: amount(150) }, (_, k) => cFunction(`work${k}`, k));
    writeFileSync(
      join(dir, "unit.c"),
      `#include <stdio.h>\n#include <math.h>\n${functions.join("")}`,
    );
    return { argv: ["gcc", "-O2", "-c", "-o", "unit.o", "unit.c"] };
  },
};
