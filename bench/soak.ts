/**
 * `npm run bench:soak -- [options]`: threads that make calls as fast as they can, for long. Each of their calls has to be in the trace.
 *
 *   --minutes N   default 10
 *   --threads N   default 4
 *   --cli FILE    the `trace` to measure; default: dist/trace
 *
 * Ends with 1 when calls are missing.
 */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openTrace } from "../src/trace/open.js";
import { countOption } from "./count.js";
import { cpuCount, makeFolder } from "./environment.js";
import { compile } from "./material.js";
import { count } from "./numbers.js";
import { endRunning, taken } from "./run.js";
import { recordCommand, TRACE_FILE, tracers } from "./tracers.js";

const SOURCE = `#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static atomic_bool over;
static void *run(void *made)
{
	unsigned long own = 0;
	for (; !over; own++)
		syscall(SYS_getppid);
	*(unsigned long *)made = own;
	return NULL;
}
int main(int argc, char **argv)
{
	int threads = atoi(argv[1]);
	pthread_t all[64];
	unsigned long made[64], sum = 0;
	for (int k = 0; k < threads; k++)
		pthread_create(&all[k], NULL, run, &made[k]);
	sleep(atoi(argv[2]));
	over = 1;
	for (int k = 0; k < threads; k++) {
		pthread_join(all[k], NULL);
		sum += made[k];
	}
	FILE *out = fopen(argv[3], "w");
	return argc != 4 || fprintf(out, "%lu", sum) < 0 || fclose(out) != 0;
}
`;

/** How many calls of that name a trace has. */
function getppids(cli: string, file: string): number {
  const text = execFileSync(cli, ["stat", "--format=json", file], { encoding: "utf8" });
  const { rows } = JSON.parse(text) as { rows: { name: string; calls: number }[] };
  return rows.find(({ name }) => name === "getppid")?.calls ?? 0;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "10" },
      threads: { type: "string", default: "4" },
      cli: {
        type: "string",
        default: fileURLToPath(new URL("../dist/trace", import.meta.url)),
      },
    },
  });
  const minutes = countOption("minutes", values.minutes);
  const threads = Math.min(64, countOption("threads", values.threads));
  const [base, remove] = makeFolder();
  try {
    const made = join(base, "made");
    const program = [compile(base, "soak", SOURCE), String(threads), String(minutes * 60), made];
    const own = tracers(resolve(values.cli), base);
    const argv = recordCommand(own, base, program, { observe: true });
    const { wall, cpu, peakMiB } = await taken({
      argv,
      dir: base,
      base,
      limitMs: minutes * 180_000,
    });
    const trace = await openTrace(join(base, TRACE_FILE));
    const expected = Number(readFileSync(made, "utf8"));
    const { lost, bytes } = trace.info;
    trace.close();
    const found = getppids(own.cli, join(base, TRACE_FILE));
    process.stdout.write(
      `${threads} threads on ${cpuCount()} CPUs for ${minutes} min: ${count(expected)} calls, ` +
        `${count(expected / wall)} per second of wall time, ${count(expected / cpu)} per CPU-second, recorder included; ` +
        `${(bytes.total / expected).toFixed(2)} bytes each, peak ${peakMiB.toFixed(0)} MiB\n` +
        `counted by the program ${expected}, in the trace ${found}, lost ${JSON.stringify(lost ?? {})}\n`,
    );
    if (found !== expected) process.exitCode = 1;
  } finally {
    endRunning();
    remove();
  }
}

await main();
