/** `trace elf`: what each program loaded, what asked for it, and where it was found. */

import type { LoadedProgram } from "../elf/tree.js";
import { usageError } from "../errors.js";
import type { Trace } from "../trace/trace.js";
import type { CommandContext, CommandDef } from "./command.js";
import { colorChoice, colorOption, openNamed, splitTrace } from "./selection.js";

interface Options {
  readonly diff?: boolean;
  readonly missingDebug?: boolean;
  readonly format: "text" | "json";
  readonly v?: boolean;
  readonly color?: string | true;
  readonly pager: boolean;
}

export const command: CommandDef<Options> = {
  name: "elf",
  summary: "show what was loaded: libraries, who needed them, where found",
  description:
    "For each program the files that it has executed, as a tree: below each file what was loaded because that file needs " +
    "it. Lines that begin with `not` are places where it was looked for in vain. Addresses are load biases: what is added to " +
    "the addresses in the file. p3 shows one process. What the files say about themselves is read from the trace (trace " +
    "pack puts them there) or from the cache of this user. --diff exits with 1 when something differs.",
  arguments: [
    { name: "[trace]", help: "trace file; the latest one if left out" },
    {
      name: "[process...]",
      help: "only these: p3; with --diff: the other trace",
      complete: "file",
    },
  ],
  options: [
    { flags: "--diff", help: "compare two traces: what was loaded differently" },
    { flags: "--missing-debug", help: "the files without debug information, and their build ids" },
    { flags: "-v", help: "segments, hardening, needed versions, all failed searches" },
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "json"],
      default: "text",
    },
    colorOption,
    { flags: "--no-pager", help: "never through $PAGER", group: "Output" },
  ],
  examples: [
    { line: "trace elf", help: "of the latest trace" },
    { line: "trace elf build.trace p3 -v", help: "one process, with all that is known" },
    { line: "trace elf --diff good.trace bad.trace", help: "was a library swapped?" },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<number> {
  if (context.options.diff === true) return compare(context);
  const { options, isTTY, env } = context;
  const { path, words } = splitTrace(context);
  const wanted = words.map(processNumber);
  const trace = await openNamed(path, context);
  checkProcesses(trace, wanted);
  const { programs: all, failure } = await read(trace);
  const chosen = all.filter(
    ({ loaded, images }) =>
      (wanted.length === 0 || wanted.includes(loaded.process)) &&
      (images.length > 0 || loaded.generated.regions > 0),
  );
  const [{ openOutput }, { painter }, render] = await Promise.all([
    import("../report/output.js"),
    import("../report/color.js"),
    import("../elf/render.js"),
  ]);
  const output = openOutput(context, options.pager && options.format === "text");
  if (options.format === "json") await output.write(render.elfJson(chosen));
  else if (options.missingDebug === true) await output.write(render.missingDebugText(chosen));
  else {
    const paint = painter(colorChoice(options.color), isTTY.stdout, env);
    const verbose = options.v === true;
    for (const program of chosen) {
      for (const line of render.programLines(program, { paint, verbose })) {
        if (!(await output.write(line))) break;
      }
    }
  }
  await output.end();
  trace.close();
  hintAtContent(context, chosen, path);
  if (failure !== undefined) throw failure;
  return 0;
}

function processNumber(word: string): number {
  const number = /^p(\d+)$/.exec(word)?.[1];
  if (number !== undefined) return Number(number);
  throw usageError(
    `${word} is neither a trace nor a process`,
    "trace elf takes a trace file and processes: p3",
  );
}

function checkProcesses(trace: Trace, wanted: readonly number[]): void {
  const missing = wanted.find((number) => !trace.processes.some((own) => own.number === number));
  if (missing === undefined) return;
  throw usageError(`the trace has no process p${missing}`, `trace tree ${trace.path} lists them`);
}

async function read(trace: Trace) {
  const [{ loadedImages }, { factsOf }, { treeOf }] = await Promise.all([
    import("../elf/images.js"),
    import("../elf/facts.js"),
    import("../elf/tree.js"),
  ]);
  const { programs, failure } = await loadedImages(trace);
  const facts = await factsOf(trace, programs);
  return { programs: programs.map((loaded) => treeOf(loaded, facts)), failure };
}

/** Without the content of the files only the events speak. */
function hintAtContent(
  context: CommandContext<Options>,
  programs: readonly LoadedProgram[],
  path: string,
): void {
  const lacking = new Set<string>();
  for (const { images } of programs) {
    for (const { image, facts, cause } of images) {
      if (facts === undefined && cause.kind !== "kernel") lacking.add(image.path);
    }
  }
  if (lacking.size === 0) return;
  context.stderr.write(
    `trace: note: the content of ${lacking.size} files is neither in the trace nor in the cache of this user; ` +
      `where it is, put it into the trace with: trace pack ${path}\n`,
  );
}

async function compare(context: CommandContext<Options>): Promise<number> {
  const { args, options, stdout } = context;
  const [first, second, more] = args;
  if (first === undefined || second === undefined || more !== undefined) {
    throw usageError("--diff compares two traces", "trace elf --diff before.trace after.trace");
  }
  const programs: LoadedProgram[][] = [];
  for (const path of [first, second]) {
    const trace = await openNamed(path, context);
    const own = await read(trace);
    trace.close();
    if (own.failure !== undefined) throw own.failure;
    programs.push(own.programs);
  }
  const { elfDifferences, differenceText, differencesJson } = await import("../elf/diff.js");
  const [before = [], after = []] = programs;
  const differences = elfDifferences(before, after);
  if (options.format === "json") stdout.write(differencesJson(differences));
  else for (const difference of differences) stdout.write(differenceText(difference));
  return differences.length > 0 ? 1 : 0;
}
