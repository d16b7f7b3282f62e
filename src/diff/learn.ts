/** Rules for a project, proposed from runs that ought to be the same: what differs between them is chance. */

import { counted } from "../report/units.js";
import { type DiffOptions, diff } from "./diff.js";
import type { Difference } from "./result.js";
import { phrase } from "./words.js";

export interface Learned {
  readonly runs: number;
  /** Patterns of paths, names of variables and of calls, each with how many differences it takes out. */
  readonly paths: ReadonlyMap<string, number>;
  readonly variables: ReadonlyMap<string, number>;
  readonly calls: ReadonlyMap<string, number>;
  /** Differences that none of these would take out. */
  readonly unexplained: number;
  readonly examples: readonly string[];
}

/** Calls of which a project may not want to hear at all. */
const QUIET: ReadonlySet<string> = new Set([
  "uname",
  "sysinfo",
  "getrlimit",
  "prlimit64",
  "ioctl",
  "fcntl",
  "close",
  "dup",
]);
const MOST_EXAMPLES = 8;

export async function learnRules(
  traces: readonly string[],
  options: DiffOptions,
): Promise<Learned> {
  const paths = new Map<string, number>();
  const variables = new Map<string, number>();
  const calls = new Map<string, number>();
  const examples: string[] = [];
  let unexplained = 0;
  const add = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1);
  const [first = "", ...others] = traces;
  for (const other of others) {
    const result = await diff(first, other, options);
    for (const one of result.differences) {
      const changed = variablesOf(one);
      if (changed !== undefined) for (const name of changed) add(variables, name);
      else if (one.object.startsWith("/"))
        add(paths, patternOf(one.object.split(", ")[0] ?? one.object));
      else if (QUIET.has(one.verb)) add(calls, one.verb);
      else {
        unexplained += 1;
        if (examples.length < MOST_EXAMPLES) examples.push(phrase(one));
      }
    }
    unexplained += result.programs.length + result.more;
  }
  return { runs: traces.length, paths, variables, calls, unexplained, examples };
}

/** Names of variables, when nothing else differs in the start of a program. */
function variablesOf({ verb, kind, aspects }: Difference): string[] | undefined {
  if (verb !== "exec" || kind !== "changed") return undefined;
  const names = aspects.flatMap(({ what }) => /^variable (.*)$/.exec(what)?.[1] ?? []);
  return names.length === aspects.length ? names : undefined;
}

/** The path with its numbers and random parts as stars. */
export function patternOf(path: string): string {
  return path.replace(/[^/]+/g, (part) => {
    const text = part
      .replace(/\d{2,}|[0-9a-f]{8,}|[A-Za-z0-9_]*\d[A-Za-z0-9_]{4,}/g, "*")
      .replace(/\*+/g, "*");
    return text;
  });
}

/** As `.trace-diff.toml` has it. */
export function learnedText({
  runs,
  paths,
  variables,
  calls,
  unexplained,
  examples,
}: Learned): string {
  if (paths.size + variables.size + calls.size + unexplained === 0) {
    return `# ${runs} runs, all the same: no rules are needed\n`;
  }
  let out = `# proposed by trace diff --learn from ${runs} runs that ought to be the same: keep what is chance\n`;
  out += "[ignore]\n";
  const list = (name: string, found: ReadonlyMap<string, number>) => {
    if (found.size === 0) return;
    out += `${name} = [\n`;
    for (const [key, count] of [...found].sort((x, y) => y[1] - x[1])) {
      out += `  ${JSON.stringify(key)}, # ${counted(count, "difference")}\n`;
    }
    out += "]\n";
  };
  list("paths", paths);
  list("variables", variables);
  list("calls", calls);
  if (unexplained > 0) {
    out += `# ${counted(unexplained, "difference")} that no such rule takes out:\n`;
    for (const line of examples) out += `#   ${line.replace(/[\r\n]/g, " ")}\n`;
  }
  return out;
}
