/** `trace show`: the events of a trace as lines. */

import { TraceError } from "../errors.js";
import type { CompareFilter } from "../query/filter/ast.js";
import type { Filter } from "../query/filter/index.js";
import type { StackTable } from "../stacks/table.js";
import type { Trace } from "../trace/trace.js";
import type { CommandContext, CommandDef } from "./command.js";
import type { PrintOptions, ShowFormat } from "./printing.js";
import {
  colorChoice,
  colorOption,
  type FilterFlags,
  filterOf,
  filterOptions,
  openNamed,
  splitTrace,
  stringSizeOption,
} from "./selection.js";

interface Options extends FilterFlags {
  readonly format: ShowFormat;
  readonly followFd?: string;
  readonly s: number;
  readonly t: number;
  readonly r?: boolean;
  readonly T?: boolean;
  readonly v?: boolean;
  readonly y: number;
  readonly stacks?: boolean;
  readonly k?: boolean;
  readonly showSecrets?: boolean;
  readonly color?: string | true;
  readonly pager: boolean;
}

const formats: readonly ShowFormat[] = ["text", "strace", "json", "jsonl"];

export const command: CommandDef<Options> = {
  name: "show",
  summary: "show the events of a trace, as text, as strace does, or as JSON",
  description:
    "Words after the trace choose what is shown: @1200..@1300 events, 12ms..3s times, p3 or p3.2 a process or thread, and " +
    "filters such as %file, 'err = ENOENT', 'fd.path startswith /etc and dur > 1ms'. All of them must hold.",
  arguments: [
    { name: "[trace]", help: "trace file; the latest one if left out" },
    {
      name: "[filter...]",
      help: "which events: p3, @10..@200, 1s..2s, or a filter",
      complete: "none",
    },
  ],
  options: [
    {
      flags: "--format <format>",
      help: "text; strace as `strace -f -ttt -T -y` writes it; json one document; jsonl one event per line",
      choices: formats,
      default: "text",
    },
    {
      flags: "--follow-fd <fd>",
      help: "the life of what a descriptor (3) or path is open on, through dup, fork and exec",
    },
    {
      flags: "--stacks",
      help: "below each call its stack, taken by replaying the trace up to there",
    },
    { flags: "-k", help: "the same, as strace has it" },
    ...filterOptions,
    stringSizeOption,
    {
      flags: "-t",
      help: "time of day; -tt with microseconds, -ttt seconds since 1970",
      count: true,
      group: "Output",
    },
    { flags: "-r", help: "time since the line before", group: "Output" },
    { flags: "-T", help: "time spent in each call", group: "Output" },
    { flags: "-v", help: "structures and lists in full", group: "Output" },
    {
      flags: "-y",
      help: "paths of descriptors (always); -yy sockets and devices in full",
      count: true,
      group: "Output",
    },
    {
      flags: "--show-secrets",
      help: "environment values whose names look like secrets, too",
      group: "Output",
    },
    colorOption,
    { flags: "--no-pager", help: "never through $PAGER", group: "Output" },
    { flags: "-f", help: "all processes (always; accepted for strace's sake)", hidden: true },
  ],
  examples: [
    { line: "trace show", help: "the latest trace" },
    { line: "trace show %file -Z", help: "calls with paths that failed" },
    { line: "trace show build.trace p3 'dur > 10ms' -tt -T", help: "slow calls of one process" },
    { line: "trace show --follow-fd pipe:[4711]", help: "who wrote to a pipe, and who read it" },
    { line: "trace show --stacks @1200..@1300", help: "with the functions that made these calls" },
    { line: "trace show --format=jsonl", help: "for other programs" },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<number> {
  const { options, env, isTTY } = context;
  const { path, words } = splitTrace(context);
  const filter = await filterOf(words, options);
  const trace = await openNamed(path, context);
  const [{ eventChunks }, { openOutput, writeAll }, { wantsColor }] = await Promise.all([
    import("./printing.js"),
    import("../report/output.js"),
    import("../report/color.js"),
  ]);
  const color = wantsColor(colorChoice(options.color), isTTY.stdout, env);
  const only = await followed(trace, options.followFd);
  const wanted = options.stacks === true || options.k === true;
  const stacks = wanted ? await stacksOf(context, trace, filter, only) : undefined;
  const print: PrintOptions = {
    ...printOptions(options),
    color,
    ...(only && { only }),
    ...(stacks && { stacks }),
  };
  const output = openOutput(context, options.pager);
  const shown = { any: false };
  try {
    await writeAll(output, watched(eventChunks(trace, filter, print), shown));
    if (!shown.any && filter !== undefined) context.stderr.write(await nothingNote(trace, filter));
  } finally {
    await output.end();
    trace.close();
  }
  return 0;
}

/** Says whether anything came. */
async function* watched<T extends { readonly length: number }>(
  chunks: AsyncIterable<T>,
  shown: { any: boolean },
): AsyncIterable<T> {
  for await (const chunk of chunks) {
    shown.any ||= chunk.length > 0;
    yield chunk;
  }
}

/** What is said when a filter chooses nothing: that may be so, a number is of another trace, or a pattern was taken for a text. */
async function nothingNote({ eventCount, processes }: Trace, filter: Filter): Promise<string> {
  const { counted } = await import("../report/units.js");
  const last = processes.reduce((most, { number }) => Math.max(most, number), 1);
  const whose = last === 1 ? "of process p1" : `of processes p1 to p${last}`;
  const note = `trace: note: no event is like that; the trace has ${counted(eventCount, "event")} ${whose}\n`;
  const pattern = patternAsText(filter);
  if (pattern === undefined) return note;
  const { formatFilter } = await import("../query/filter/index.js");
  const [asked, meant] = [pattern, { ...pattern, op: "glob" as const }].map(formatFilter);
  return `${note}  ${asked} asks for that very text; for a pattern: ${meant}\n`;
}

/** A comparison with a text that looks like a pattern of names. */
function patternAsText(filter: Filter): CompareFilter | undefined {
  if (filter.type === "not") return patternAsText(filter.term);
  if (filter.type === "and" || filter.type === "or") {
    for (const term of filter.terms) {
      const found = patternAsText(term);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  const isText = filter.type === "compare" && filter.op === "=" && filter.value.type === "string";
  return isText && /[*?]/.test(String(filter.value.value)) ? filter : undefined;
}

/** Stacks of what is shown. A replay that goes astray gives those up to there. */
async function stacksOf(
  { stderr }: CommandContext<Options>,
  trace: Trace,
  filter: Filter | undefined,
  only: ReadonlySet<number> | undefined,
): Promise<StackTable> {
  const [{ selectEvents }, { stackNotes, takeStacks }] = await Promise.all([
    import("../query/select.js"),
    import("../stacks/take.js"),
  ]);
  const { read, columns, keep = () => true } = await selectEvents(trace, filter);
  const taken = await takeStacks(trace, {
    read: { ...read, columns },
    keep: (batch, i) => (only === undefined || only.has(batch.firstSeq + i)) && keep(batch, i),
  });
  stderr.write(stackNotes(trace, taken));
  return taken.stacks;
}

async function followed(
  trace: Parameters<typeof import("../query/follow.js").followDescriptor>[0],
  what: string | undefined,
): Promise<ReadonlySet<number> | undefined> {
  if (what === undefined) return undefined;
  const { followDescriptor } = await import("../query/follow.js");
  const seqs = await followDescriptor(trace, what);
  if (seqs.size > 0) return seqs;
  throw new TraceError("NO_DESCRIPTOR", `nothing in the trace is open as ${what}`, {
    hint: "trace stat --by path lists what files were used; numbers are of descriptors, as 3",
  });
}

function printOptions(options: Options): PrintOptions {
  const styles = ["none", "t", "tt", "ttt"] as const;
  const isStrace = options.format === "strace";
  // Without any time option the strace format is that of `strace -f -ttt -T -y`.
  const isPlain = options.t === 0 && options.r !== true && options.T !== true;
  const time = options.r === true ? "r" : (styles[Math.min(3, options.t)] ?? "none");
  return {
    format: options.format,
    time: isStrace && isPlain ? "ttt" : time,
    duration: options.T === true || (isStrace && isPlain),
    stringLimit: options.s,
    verbose: options.v === true,
    descriptors: options.y >= 2 ? "full" : "path",
    showSecrets: options.showSecrets === true,
  };
}
