/** The cheapest call there is: what remains is the price of being traced. */

import { compile } from "../material.js";
import type { Workload } from "../workload.js";

const SOURCE = `#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	for (long left = argc > 1 ? atol(argv[1]) : 0; left > 0; left--)
		syscall(SYS_getppid);
	return 0;
}
`;

export const workload: Workload = {
  title: "getppid loop",
  programs: ["gcc"],
  share: 0.02,
  prepare: ({ dir, amount }) => ({
    argv: [compile(dir, "getppid", SOURCE), String(amount(7_000_000))],
  }),
};
