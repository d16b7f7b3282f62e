/** How long `trace record` takes to begin and end: `trace record true` against `node -e 0`. */

import { which } from "./environment.js";
import { median } from "./numbers.js";
import { wallTime } from "./run.js";
import { recordCommand, type Tracers } from "./tracers.js";

/** These are short and vary much, so there are more of them than of other runs. */
const RUNS_PER_ROUND = 6;

export interface Startup {
  /** Of the wall times. */
  readonly ratio: number;
  /** What recording adds, in milliseconds. */
  readonly added: number;
}

export async function measureStartup(
  tracers: Tracers,
  base: string,
  rounds: number,
): Promise<Startup> {
  const node = [process.execPath, "-e", "0"];
  const record = recordCommand(tracers, base, [which("true") ?? "true"]);
  const [alone, recorded]: [number[], number[]] = [[], []];
  await wallTime({ argv: record, dir: base, base });
  for (let run = 0; run < rounds * RUNS_PER_ROUND; run++) {
    alone.push(await wallTime({ argv: node, dir: base, base }));
    recorded.push(await wallTime({ argv: record, dir: base, base }));
  }
  const [before, after] = [median(alone), median(recorded)];
  return { ratio: after / before, added: after - before };
}
