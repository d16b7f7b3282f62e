/** `trace diff`: what one run did differently from another. */

import { existsSync } from "node:fs";
import type { ProjectConfig } from "../diff/config.js";
import type { DiffOptions } from "../diff/diff.js";
import type { FailOn } from "../diff/golden.js";
import type { DiffResult } from "../diff/result.js";
import { RULE_NAMES, type RuleName } from "../diff/rules.js";
import { usageError } from "../errors.js";
import { nearestName } from "../query/nearest.js";
import { counted } from "../report/units.js";
import type { CommandContext, CommandDef } from "./command.js";
import { colorChoice, colorOption, openNamed, terminalWidth } from "./selection.js";
import { collect, timeSpan, wholeNumber } from "./values.js";

interface Options {
  readonly format: "text" | "json" | "md" | "html";
  readonly output?: string;
  readonly stat?: boolean;
  readonly files?: boolean;
  readonly net?: boolean;
  readonly execs?: boolean;
  readonly events?: boolean;
  readonly process?: string;
  readonly with?: readonly string[];
  readonly without?: readonly string[];
  readonly map?: readonly string[];
  readonly ignorePath?: readonly string[];
  readonly like?: readonly string[];
  readonly slowCall?: number;
  readonly limit: number;
  readonly showCanonical?: boolean;
  readonly listRules?: boolean;
  readonly against?: string;
  readonly failOn?: string;
  readonly pass?: readonly string[];
  readonly fail?: readonly string[];
  readonly learn?: boolean;
  readonly config?: string | false;
  readonly showSecrets?: boolean;
  readonly color?: string | true;
  readonly pager: boolean;
}

const SAME = 0;
const DIFFERENT = 1;

export const command: CommandDef<Options> = {
  name: "diff",
  summary: "what one run did differently from another",
  description:
    "Compares what two recordings did: process by process, call by call, without what differs in every run (process ids, addresses, " +
    "descriptors, temporary names, times, the order of threads). Says first where the runs parted, then what differs in files, " +
    "programs, addresses and results. Exit code 0: the same; 1: different; 2: it could not be compared.",
  arguments: [
    { name: "[a]", help: "trace of the first run" },
    { name: "[b...]", help: "trace of the second run; with --learn any number" },
  ],
  options: [
    {
      flags: "--format <format>",
      help: "how to report: text, json, md for a comment, html to open in a browser",
      choices: ["text", "json", "md", "html"],
      default: "text",
    },
    { flags: "-o, --output <file>", help: "where to report", defaultText: "standard output" },
    { flags: "--files", help: "files that were read, written, deleted, in full" },
    { flags: "--execs", help: "programs and how they were started, in full" },
    { flags: "--net", help: "network addresses, in full" },
    { flags: "--stat", help: "numbers of calls, and time" },
    { flags: "--events", help: "every event that differs, with both versions" },
    { flags: "--process <process>", help: "only what differs in this process of A (p3)" },
    { flags: "--limit <n>", help: "rows of each section", parse: wholeNumber(1), default: 12 },
    {
      flags: "--with <rule>",
      help: "switch a rule on that the project switched off",
      parse: collect,
      group: "What counts",
    },
    {
      flags: "--without <rule>",
      help: "switch a rule off (--list-rules)",
      parse: collect,
      group: "What counts",
    },
    {
      flags: "--map <a=b>",
      help: "what b in B is called in A: --map /home/ann=/home/bob",
      parse: collect,
      group: "What counts",
    },
    {
      flags: "--ignore-path <pattern>",
      help: "files that do not count: --ignore-path '/var/log/**'",
      parse: collect,
      group: "What counts",
    },
    {
      flags: "--like <trace>",
      help: "another run like A: what differs between those two does not count",
      parse: collect,
      group: "What counts",
    },
    {
      flags: "--slow-call <time>",
      help: "how much slower a single call must be to count",
      parse: timeSpan,
      defaultText: "300ms",
      group: "What counts",
    },
    {
      flags: "--config <file>",
      help: "rules of the project",
      defaultText: ".trace-diff.toml",
      group: "What counts",
    },
    { flags: "--no-config", help: "no rules of the project", group: "What counts" },
    {
      flags: "--list-rules",
      help: "the rules, what each takes out, and why",
      group: "What counts",
    },
    {
      flags: "--show-canonical",
      help: "what is left of each event of one trace under the rules",
      group: "What counts",
    },
    {
      flags: "--learn",
      help: "propose rules from runs that ought to be the same",
      group: "What counts",
    },
    {
      flags: "--against <golden>",
      help: "compare with how it ought to be (trace accept)",
      group: "Many runs",
    },
    {
      flags: "--fail-on <what>",
      help: "what makes exit code 1: any, new-exec, new-net, new-read, new-write, lost-file, errno, exit, output, slower:20%",
      group: "Many runs",
    },
    {
      flags: "--pass <trace>",
      help: "a run that passed; name several, each with --pass",
      parse: collect,
      group: "Many runs",
    },
    {
      flags: "--fail <trace>",
      help: "a run that failed: what do all of them have that no other has?",
      parse: collect,
      group: "Many runs",
    },
    {
      flags: "--show-secrets",
      help: "values of variables whose names look like secrets, too",
      group: "Output",
    },
    colorOption,
    { flags: "--no-pager", help: "never through $PAGER", group: "Output" },
  ],
  examples: [
    { line: "trace diff before.trace after.trace", help: "what changed" },
    { line: "trace diff a.trace b.trace --files --net", help: "two sections, in full" },
    { line: "trace diff a.trace b.trace --format=html -o diff.html", help: "to send to somebody" },
    {
      line: "trace diff run.trace --against golden.trace --fail-on new-exec,new-net",
      help: "in CI",
    },
    {
      line: "trace diff --pass ok1.trace --pass ok2.trace --fail bad.trace",
      help: "why does it fail?",
    },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<number> {
  const { options } = context;
  if (options.listRules === true) return listRules(context);
  const project = await configOf(options);
  const diffOptions = diffOptionsOf(options, project);
  if (options.showCanonical === true) return showCanonical(context, diffOptions);
  if (options.learn === true) return learn(context, diffOptions);
  if (options.pass !== undefined || options.fail !== undefined)
    return manyRuns(context, diffOptions);
  return compareTwo(context, diffOptions, project);
}

/** The project's rules: of the file that is named, or of the one in the working directory when there is one. */
async function configOf({ config }: Options): Promise<ProjectConfig> {
  const { CONFIG_FILE, readConfig } = await import("../diff/config.js");
  if (config === false) return {};
  if (config !== undefined && typeof config === "string") return readConfig(config);
  return existsSync(CONFIG_FILE) ? readConfig(CONFIG_FILE) : {};
}

function diffOptionsOf(options: Options, project: ProjectConfig): DiffOptions {
  const on = ruleNames(options.with);
  const off = [...(project.without ?? []), ...ruleNames(options.without)];
  const without = off.filter((name) => !on.includes(name));
  const slowCall = options.slowCall ?? project.slowCall;
  return {
    without,
    ignoreCalls: project.ignoreCalls,
    ignoreVariables: project.ignoreVariables,
    ignorePaths: [...(project.ignorePaths ?? []), ...(options.ignorePath ?? [])],
    maps: [...(options.map ?? []).map(readMap), ...(project.maps ?? [])],
    maskSecrets: options.showSecrets !== true,
    ...(options.like !== undefined && { like: options.like }),
    ...(slowCall !== undefined && { slowCall }),
  };
}

function ruleNames(names: readonly string[] = []): RuleName[] {
  return names.map((name) => {
    const known = RULE_NAMES.find((rule) => rule === name);
    if (known !== undefined) return known;
    const near = nearestName(name, RULE_NAMES);
    throw usageError(
      `there is no rule ${name}`,
      near === undefined ? "trace diff --list-rules lists them" : `did you mean ${near}?`,
    );
  });
}

function readMap(text: string): { a: string; b: string } {
  const equals = text.indexOf("=");
  const [a, b] = [text.slice(0, equals), text.slice(equals + 1)];
  if (equals > 0 && b !== "") return { a, b };
  throw usageError(
    `--map ${text}: not a pair of names`,
    "what it is in A, then in B: --map /home/ann=/home/bob",
  );
}

/** The paths of both traces: two that are named, or the golden one and one that is named. */
function pathsOf({ args, options }: CommandContext<Options>): { a: string; b: string } {
  const [first, second, ...rest] = args;
  if (options.against !== undefined) {
    if (first === undefined || second !== undefined) {
      throw usageError(
        "--against takes one trace besides",
        "trace diff run.trace --against golden.trace",
      );
    }
    return { a: options.against, b: first };
  }
  if (first === undefined || second === undefined || rest.length > 0) {
    throw usageError(
      `${args.length === 0 ? "no" : args.length} ${args.length === 1 ? "trace is" : "traces are"} named`,
      "name two: trace diff a.trace b.trace; trace ls lists the traces of a folder",
    );
  }
  return { a: first, b: second };
}

async function compareTwo(
  context: CommandContext<Options>,
  diffOptions: DiffOptions,
  project: ProjectConfig,
): Promise<number> {
  const { options } = context;
  const [{ diff }, { readFailOn, failures }] = await Promise.all([
    import("../diff/diff.js"),
    import("../diff/golden.js"),
  ]);
  const failOn: FailOn | undefined = readFailOn(options.failOn ?? project.failOn);
  const { a, b } = pathsOf(context);
  const one = await openNamed(a, context);
  const other = await openNamed(b, context);
  try {
    const whole = await diff(one, other, diffOptions);
    const result = options.process === undefined ? whole : onlyProcess(whole, options.process);
    const failed = failOn === undefined ? undefined : failures(result, failOn);
    await report(context, result, failed);
    if (failed !== undefined) return failed.length > 0 ? DIFFERENT : SAME;
    return result.verdict === "same" ? SAME : DIFFERENT;
  } finally {
    one.close();
    other.close();
  }
}

/** What of a result speaks of one process of A. */
function onlyProcess(result: DiffResult, name: string): DiffResult {
  if (!/^p\d+$/.test(name)) {
    throw usageError(
      `--process ${name}: not a process`,
      `processes are named p1, p2: trace tree ${result.a.path}`,
    );
  }
  const isOwn = ({ process }: { process: { a: string | undefined } }) => process.a === name;
  const differences = result.differences.filter(isOwn);
  const [inA, inB] = (["a", "b"] as const).map(
    (key) => new Set(differences.flatMap((one) => one[key]?.seq ?? [])),
  );
  const isThere = ({ a, b }: { a: number | undefined; b: number | undefined }) =>
    (a !== undefined && inA?.has(a) === true) || (b !== undefined && inB?.has(b) === true);
  const programs = result.programs.filter(({ parent }) => parent?.a === name);
  const isSame = differences.length + programs.length + result.more === 0;
  const parts = [
    counted(differences.length, "difference"),
    ...(programs.length > 0
      ? [`${counted(programs.length, "process", "processes")} in one only`]
      : []),
    ...(result.more > 0 ? [`${result.more} in any process that were not looked at`] : []),
  ];
  return {
    ...result,
    differences,
    files: result.files.filter(isThere),
    net: result.net.filter(isThere),
    starts: result.starts.filter(isOwn),
    programs,
    verdict: isSame ? "same" : "different",
    summary: `${isSame ? "the same" : "different"} in ${name}: ${parts.join(", ")}`,
    firstCause: result.firstCause?.process.a === name ? result.firstCause : undefined,
    otherCauses: result.otherCauses.filter(isOwn),
  };
}

async function report(
  context: CommandContext<Options>,
  result: DiffResult,
  failed: readonly string[] | undefined,
): Promise<void> {
  const { options, env, isTTY } = context;
  let text: string;
  switch (options.format) {
    case "json": {
      const { diffJson } = await import("../diff/render/json.js");
      text = diffJson(result);
      break;
    }
    case "md": {
      const { diffMarkdown } = await import("../diff/render/markdown.js");
      text = diffMarkdown(result, failed);
      break;
    }
    case "html": {
      const { diffHtml } = await import("../diff/render/html.js");
      text = diffHtml(result);
      break;
    }
    default: {
      const [{ diffText, SECTIONS }, { painter }] = await Promise.all([
        import("../diff/render/text.js"),
        import("../report/color.js"),
      ]);
      const only = SECTIONS.filter((section) => options[section] === true);
      const isTerminal = isTTY.stdout && options.output === undefined;
      const paint = painter(colorChoice(options.color), isTerminal, env);
      const width = terminalWidth(context);
      text = diffText(result, { paint, width, only, limit: options.limit });
      for (const line of failed ?? []) text += `failed: ${line}\n`;
    }
  }
  await write(context, text);
  const { tellActions } = await import("../diff/golden.js");
  await tellActions(result, failed, env, context.stderr);
}

async function write(context: CommandContext<Options>, text: string): Promise<void> {
  const { options } = context;
  if (options.output !== undefined) {
    const { writeText } = await import("../export/target.js");
    return writeText(options.output, text);
  }
  const { openOutput } = await import("../report/output.js");
  const output = openOutput(context, options.pager && options.format === "text");
  try {
    await output.write(text);
  } finally {
    await output.end();
  }
}

async function listRules(context: CommandContext<Options>): Promise<number> {
  const [{ RULES }, { wrap }] = await Promise.all([
    import("../diff/rules.js"),
    import("../report/text.js"),
  ]);
  const width = Math.min(100, terminalWidth(context));
  let text = "";
  for (const { name, what, why } of RULES) {
    text += `${name}\n`;
    for (const line of wrap(`${what}: ${why}`, width - 4)) text += `    ${line}\n`;
  }
  await write(context, text);
  return SAME;
}

async function showCanonical(
  context: CommandContext<Options>,
  diffOptions: DiffOptions,
): Promise<number> {
  const { canonicalLines } = await import("../diff/show_canonical.js");
  const [path] = context.args;
  if (path === undefined || context.args.length > 1) {
    throw usageError("--show-canonical takes one trace", "trace diff --show-canonical run.trace");
  }
  const trace = await openNamed(path, context);
  const { openOutput, writeAll } = await import("../report/output.js");
  const output = openOutput(context, context.options.pager);
  try {
    await writeAll(output, canonicalLines(trace, diffOptions));
  } finally {
    await output.end();
    trace.close();
  }
  return SAME;
}

async function learn(context: CommandContext<Options>, diffOptions: DiffOptions): Promise<number> {
  const { learnRules, learnedText } = await import("../diff/learn.js");
  if (context.args.length < 2) {
    throw usageError(
      "--learn needs two runs or more",
      "trace diff --learn a.trace b.trace c.trace",
    );
  }
  const learned = await learnRules(context.args, diffOptions);
  await write(context, learnedText(learned));
  return learned.unexplained === 0 ? SAME : DIFFERENT;
}

async function manyRuns(
  context: CommandContext<Options>,
  diffOptions: DiffOptions,
): Promise<number> {
  const { pass = [], fail = [] } = context.options;
  if (pass.length === 0 || fail.length === 0) {
    throw usageError(
      "runs that passed and runs that failed are both needed",
      "trace diff --pass ok1.trace --pass ok2.trace --fail bad.trace",
    );
  }
  const { rankRuns, rankedText, rankedJson } = await import("../diff/runs.js");
  const ranked = await rankRuns([...pass], [...fail, ...context.args], diffOptions);
  const isJson = context.options.format === "json";
  await write(
    context,
    isJson ? rankedJson(ranked) : rankedText(ranked, terminalWidth(context), context.options.limit),
  );
  return ranked.always.length > 0 ? DIFFERENT : SAME;
}
