/** Small reads of a file that is in memory: the price of a call with data. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { compile, text } from "../material.js";
import type { Workload } from "../workload.js";

const SOURCE = `#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	char buffer[64];
	int fd = argc > 2 ? open(argv[2], O_RDONLY) : -1;
	if (fd < 0)
		return 1;
	for (long left = atol(argv[1]); left > 0; left--)
		if (read(fd, buffer, sizeof buffer) != sizeof buffer && lseek(fd, 0, SEEK_SET) != 0)
			return 1;
	return 0;
}
`;

export const workload: Workload = {
  title: "64-byte reads",
  programs: ["gcc"],
  share: 0.05,
  prepare: ({ dir, amount }) => {
    const data = join(dir, "data");
    writeFileSync(data, text(1, 20_000));
    return { argv: [compile(dir, "read64", SOURCE), String(amount(3_400_000)), data] };
  },
};
