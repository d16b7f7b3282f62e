/** npm looks at every package that this project has installed, twice; what it removes of its logs would differ from run to run. */

import { fileURLToPath } from "node:url";
import { which } from "../environment.js";
import type { Workload } from "../workload.js";

const PROJECT = fileURLToPath(new URL("../../", import.meta.url));

export const workload: Workload = {
  title: "npm ls",
  programs: ["npm"],
  prepare: () => {
    const npm = which("npm") ?? "npm";
    const script =
      '"$0" ls --all --logs-max=0 --prefix "$1" && "$0" ls --all --logs-max=0 --prefix "$1"';
    return { argv: ["sh", "-c", script, npm, PROJECT] };
  },
};
