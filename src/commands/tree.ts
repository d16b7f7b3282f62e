/** `trace tree`: the processes, what they ran, how long, and how they ended. */

import type { CommandContext, CommandDef } from "./command.js";
import { colorChoice, colorOption, onlyTrace, openNamed, terminalWidth } from "./selection.js";

interface Options {
  readonly commands?: boolean;
  readonly fullEnv?: boolean;
  readonly format: "text" | "json";
  readonly showSecrets?: boolean;
  readonly color?: string | true;
  readonly pager: boolean;
}

export const command: CommandDef<Options> = {
  name: "tree",
  summary: "show the process tree: programs, lifetimes, exit codes",
  description:
    "Each line is a process: its name in the trace (p3), the program with its arguments, its process id, how long it " +
    "lived and how it ended. Programs that a process started later in its life follow with an arrow; in parentheses " +
    "stands what a process runs that started none itself.",
  arguments: [{ name: "[trace]", help: "trace file; the latest one if left out" }],
  options: [
    {
      flags: "--commands",
      help: "below each program the shell line that runs it again, with the changes of its environment",
    },
    { flags: "--full-env", help: "in these lines the whole environment (env -i ...)" },
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "json"],
      default: "text",
    },
    { flags: "--show-secrets", help: "environment values whose names look like secrets, too" },
    colorOption,
    { flags: "--no-pager", help: "never through $PAGER", group: "Output" },
  ],
  examples: [
    { line: "trace tree", help: "of the latest trace" },
    { line: "trace tree build.trace --commands", help: "run one step of a build again" },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<number> {
  const { options, isTTY, env } = context;
  const path = onlyTrace(context, "tree");
  const trace = await openNamed(path, context);
  const [{ History }, render, shell, { maskVariable }, { openOutput }, { painter }] =
    await Promise.all([
      import("../trace/history.js"),
      import("../tree/render.js"),
      import("../tree/shell.js"),
      import("../show/secrets.js"),
      import("../report/output.js"),
      import("../report/color.js"),
    ]);
  const history = await History.read(trace);
  const mask = options.showSecrets === true ? (text: string) => text : maskVariable;
  const shellLine: NonNullable<Parameters<typeof render.treeLines>[2]["command"]> = (
    program,
    life,
  ) => {
    const before = history.programBefore(life.number, program.seq);
    const environment = options.fullEnv === true ? undefined : (before?.env ?? program.env);
    return shell.commandLine(program, { environment, mask });
  };
  const output = openOutput(context, options.pager && options.format === "text");
  if (options.format === "json") {
    await output.write(render.treeJson(history, shellLine, mask));
  } else {
    const lines = render.treeLines(render.treeOf(history), history, {
      paint: painter(colorChoice(options.color), isTTY.stdout, env),
      width: terminalWidth(context),
      duration: trace.duration,
      ...((options.commands === true || options.fullEnv === true) && { command: shellLine }),
    });
    for (const line of lines) if (!(await output.write(line))) break;
  }
  await output.end();
  trace.close();
  if (history.failure !== undefined) throw history.failure;
  return 0;
}
