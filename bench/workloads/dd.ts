/** Small blocks from one device to another: two calls with data for each. */

import type { Workload } from "../workload.js";

export const workload: Workload = {
  title: "dd of 512 B blocks",
  programs: ["dd"],
  share: 0.05,
  prepare: ({ amount }) => ({
    argv: ["dd", "if=/dev/zero", "of=/dev/null", "bs=512", `count=${amount(2_400_000)}`],
  }),
};
