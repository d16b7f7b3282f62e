/** A shell that starts many programs, which end at once: the price of a process. */

import { which } from "../environment.js";
import type { Workload } from "../workload.js";

/** How many of them. */
export const FORKS = 800;

export const workload: Workload = {
  title: `sh loop of ${FORKS} forks`,
  programs: ["sh", "true"],
  share: 0.3,
  prepare: ({ amount }) => {
    // By its path, since the shell has a `true` of its own that forks nothing.
    const loop = `n=0; while [ $n -lt ${amount(FORKS)} ]; do ${which("true")}; n=$((n + 1)); done`;
    return { argv: ["sh", "-c", loop] };
  },
};
