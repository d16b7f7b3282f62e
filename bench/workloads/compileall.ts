/** Python compiles modules of its own library. */

import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import { setUp, type Workload } from "../workload.js";

const PACKAGES = ["json", "email", "http", "logging", "asyncio", "unittest", "xml", "urllib"];
/** Copies of the packages: one compiles too quickly. */
const COPIES = 3;

const ASK = "import sys, sysconfig; print(sys.executable); print(sysconfig.get_path('stdlib'))";

export const workload: Workload = {
  title: "python3 -m compileall",
  programs: ["python3"],
  prepare: ({ dir, amount }) => {
    // The interpreter itself: what is called python3 may be a script that looks for it.
    const [python = "", library = ""] = setUp(dir, ["python3", "-c", ASK]).split("\n");
    for (let copy = 0; copy < amount(COPIES); copy++) {
      for (const name of PACKAGES.filter((name) => existsSync(join(library, name)))) {
        const filter = (path: string): boolean => !path.includes("__pycache__");
        cpSync(join(library, name), join(dir, `copy${copy}`, name), { recursive: true, filter });
      }
    }
    return { argv: [python, "-m", "compileall", "-q", "-f", "."] };
  },
};
