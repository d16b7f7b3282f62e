/**
 * `trace spec VERB`: sandbox specs. Each verb is a command of its own, in `spec/VERB.ts`; this file only finds it. Each
 * is imported when it is asked for.
 */

import { TraceError, usageError } from "../errors.js";
import type { CommandContext, CommandDef, ExitStatus } from "./command.js";
import { readPlainly } from "./plain.js";

type Load = () => Promise<{ readonly command: CommandDef }>;

const verbs: ReadonlyMap<string, Load> = new Map<string, Load>([
  ["gen", () => import("./spec/gen.js")],
  ["check", () => import("./spec/check.js")],
  ["run", () => import("./spec/run.js")],
  ["prove", () => import("./spec/prove.js")],
  ["explain", () => import("./spec/explain.js")],
  ["diff", () => import("./spec/diff.js")],
  ["export", () => import("./spec/export.js")],
  ["merge", () => import("./spec/merge.js")],
  ["validate", () => import("./spec/validate.js")],
  ["metrics", () => import("./spec/metrics.js")],
  ["schema", () => import("./spec/schema.js")],
]);

/** The verbs, for tests and help. */
export const specVerbs: readonly string[] = [...verbs.keys()];

export const command: CommandDef = {
  name: "spec",
  summary: "sandbox specs of recordings: make, check, enforce, prove",
  description:
    "A spec says what each program of a process tree may do, as far as recordings show that it has to.\n\n" +
    "  gen       make a spec of recordings\n" +
    "  check     does a recording stay inside a spec?\n" +
    "  run       a program under a spec, enforced\n" +
    "  prove     is it enough, and is it tight? (re-run under enforcement, attempts)\n" +
    "  explain   why is a grant there: the events that needed it\n" +
    "  diff      what does one spec allow more than another?\n" +
    "  export    in the format of another tool, with what is lost there\n" +
    "  merge     several specs as one\n" +
    "  validate  names that lead nowhere, wiring that does not fit, roles that act for\n" +
    "            others, paths that are gone\n" +
    "  metrics   how much authority it gives, granted against used\n" +
    "  schema    the JSON schema of spec files\n\n" +
    "trace spec VERB --help says more of each.",
  arguments: [
    { name: "<verb>", help: "what to do", choices: [...verbs.keys()] },
    { name: "[args...]", help: "its arguments and options" },
  ],
  passThrough: true,
  examples: [
    { line: "trace spec gen -o app.spec app.trace", help: "a spec of a recording" },
    { line: "trace spec check app.spec next.trace", help: "did the next run stay inside?" },
    { line: "trace spec diff old.spec app.spec", help: "what has been widened (exit code 1)" },
  ],
  run,
};

async function run(context: CommandContext): Promise<ExitStatus> {
  const [verb = "", ...words] = context.args;
  const load = verbs.get(verb);
  if (load === undefined)
    throw usageError(`there is no trace spec ${verb}`, `choose ${specVerbs.join(", ")}`);
  const { command: own } = await load();
  try {
    return await runVerb(own, words, context);
  } catch (error) {
    const code = own.failureExitCode;
    throw error instanceof TraceError && code !== undefined ? error.forExitCode(code) : error;
  }
}

async function runVerb(
  own: CommandDef,
  words: readonly string[],
  context: CommandContext,
): Promise<ExitStatus> {
  const parsed = readPlainly(own, words) ?? (await import("./parse.js")).parseCommand(own, words);
  if ("help" in parsed) {
    context.stdout.write(parsed.help);
    return 0;
  }
  // The streams are opened when somebody uses them: see cli.ts.
  const inner = Object.create(context, {
    args: { value: parsed.args },
    options: { value: parsed.options },
  }) as CommandContext;
  return own.run(inner);
}
