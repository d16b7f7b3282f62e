/** The traces that are asked: one of real programs, and one that is only long. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openTrace } from "../../src/trace/open.js";
import { compile } from "../material.js";
import { wallTime } from "../run.js";
import { recordCommand, type Tracers } from "../tracers.js";
import { passesScript } from "./programs.js";

/** Cheap calls in turn, of which two move bytes. */
const LOOP = `#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	char bytes[64];
	int in = open("/dev/zero", O_RDONLY), out = open("/dev/null", O_WRONLY);
	for (long left = argc > 1 ? atol(argv[1]) / 4 : 0; left > 0; left--) {
		syscall(SYS_getppid);
		if (read(in, bytes, sizeof bytes) != sizeof bytes || write(out, bytes, 32) != 32)
			return 1;
		lseek(in, 0, SEEK_SET);
	}
	return 0;
}
`;

const PASS = { reads: false, sources: "/usr/lib/python3/dist-packages" };

export interface Recorded {
  readonly file: string;
  readonly events: number;
  /** Length of the file. */
  readonly bytes: number;
}

export interface Place {
  readonly tracers: Tracers;
  readonly base: string;
}

/** An hour, on a machine that does other things. */
const LIMIT_MS = 3_600_000;

async function record(
  { tracers, base }: Place,
  name: string,
  argv: readonly string[],
  options: readonly string[] = [],
): Promise<Recorded> {
  const [cli = "", verb = "", ...rest] = recordCommand(tracers, base, argv, {
    observe: true,
    file: name,
  });
  const command = [cli, verb, ...options, ...rest];
  await wallTime({ argv: command, dir: base, base, limitMs: LIMIT_MS });
  return counted(join(base, name));
}

/** A trace that is there already. */
export async function counted(file: string): Promise<Recorded> {
  const trace = await openTrace(file);
  const { eventCount: events, info } = trace;
  trace.close();
  return { file, events, bytes: info.bytes.total };
}

/** As many rounds of the programs as make `events` events. */
export async function recordPrograms(place: Place, events: number): Promise<Recorded> {
  const script = join(place.base, "programs.sh");
  writeFileSync(script, passesScript(PASS));
  const one = await record(place, "one.trace", ["sh", script, "1"]);
  const rounds = Math.max(1, Math.ceil(events / one.events));
  if (rounds === 1) return one;
  return record(place, "programs.trace", ["sh", script, String(rounds)]);
}

/** A loop of `events` calls, without what they read and write. */
export async function recordLoop(place: Place, events: number): Promise<Recorded> {
  const program = compile(place.base, "loop", LOOP);
  return record(place, "loop.trace", [program, String(events)], ["--data=none"]);
}
