/**
 * `npm run bench:spec -- [options]`: what it costs to enforce a spec. Everything is run natively and enforced, in turns.
 *
 *   --seconds N   seconds for one workload, from which on no more rounds are begun; default 25
 *   --only NAME   only this workload, or `opens`; may be repeated
 *   --quick       less work, two rounds
 *   --write       write the report although not everything was measured
 *   --list        print the names
 *
 * A whole run takes some ten minutes. Writes a section of bench/spec.md when everything was measured in full, or `--write` is
 * given.
 */

import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { countOption } from "../count.js";
import { makeFolder } from "../environment.js";
import { writeSection } from "../section.js";
import { loadWorkloads, missingPrograms, prepare } from "../workload.js";
import { makeMeter } from "./meter.js";
import { openCost } from "./opens.js";
import { type Measured, report } from "./report.js";
import { type Cost, type Effort, workloadCost } from "./workloads.js";

const REPORT = fileURLToPath(new URL("../spec.md", import.meta.url));
const OPENS = "opens";
const FULL = { effort: { least: 5, most: 200, seconds: 25 }, scale: 1, opens: 7 };
const QUICK = { effort: { least: 2, most: 2, seconds: 0 }, scale: 0.2, opens: 2 };

const progress = (line: string): void => void process.stderr.write(`${line}\n`);

function options() {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string" },
      only: { type: "string", multiple: true, default: [] },
      quick: { type: "boolean", default: false },
      write: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
    },
  });
  const size = values.quick ? QUICK : FULL;
  const { seconds: usual } = size.effort;
  const seconds = values.seconds === undefined ? usual : countOption("seconds", values.seconds, 0);
  const effort: Effort = { ...size.effort, seconds };
  const isFull = values.only.length === 0 && !values.quick && seconds >= FULL.effort.seconds;
  return { ...size, effort, only: values.only, list: values.list, write: values.write || isFull };
}

async function main(): Promise<void> {
  const { effort, scale, opens, only, list, write } = options();
  const workloads = await loadWorkloads();
  const names = [...workloads.map(({ name }) => name), OPENS];
  if (list) {
    process.stdout.write(`${names.join("\n")}\n`);
    return;
  }
  const unknown = only.filter((name) => !names.includes(name));
  if (unknown.length > 0) throw new Error(`--only ${unknown.join(", ")}: see --list`);
  const isWanted = (name: string) => only.length === 0 || only.includes(name);
  const load = loadavg()[0] ?? Number.NaN;
  const [base, remove] = makeFolder();
  try {
    const metered = makeMeter(base);
    const costs: Cost[] = [];
    for (const workload of workloads) {
      if (!isWanted(workload.name) || missingPrograms(workload).length > 0) continue;
      const prepared = prepare(workload, base, scale * (workload.share ?? 1));
      const cost = await workloadCost(metered, prepared, base, effort);
      costs.push(cost);
      const { value, off } = cost.ratio;
      progress(`${cost.title}: ${value.toFixed(3)} ± ${off.toFixed(3)}`);
    }
    const measured: Measured = {
      costs,
      opens: isWanted(OPENS) ? openCost(base, { rounds: opens, scale }) : undefined,
      load,
    };
    const text = report(measured);
    process.stdout.write(text);
    if (write) writeSection(REPORT, "# Specs, enforced", "Cost", text);
  } finally {
    remove();
  }
}

await main();
