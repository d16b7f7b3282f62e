/** `trace doctor`: tries what recording needs, and explains what does not work. */

import type { Finding, ReplayTrial, Trial } from "../doctor/checks.js";
import { TraceError } from "../errors.js";
import type { CommandContext, CommandDef } from "./command.js";
import { colorChoice, colorOption, terminalWidth } from "./selection.js";

interface Options {
  readonly format: "text" | "json";
  readonly color?: string | true;
}

export const command: CommandDef<Options> = {
  name: "doctor",
  summary: "try what recording and replay need here, and explain what fails",
  description:
    "Records a small program and replays it, and tries each ability by itself: ptrace, seccomp, reading memory and /proc, " +
    "and what the machine is. Exits with 0 when recording works, else with 1.",
  options: [
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "json"],
      default: "text",
    },
    colorOption,
  ],
  examples: [{ line: "trace doctor", help: "when recording or replay fails, or is slow" }],
  run,
};

async function run(context: CommandContext<Options>): Promise<number> {
  const { options, stdout, env } = context;
  const [{ machineFacts }, { findings }, { native }] = await Promise.all([
    import("../doctor/facts.js"),
    import("../doctor/checks.js"),
    import("../native.js"),
  ]);
  const checks = await native().probe();
  const trial = await tryRecording();
  const found = findings(machineFacts(env), checks, trial);
  const works = "events" in trial;
  if (options.format === "json") {
    const document = { schema: "trace.doctor", version: 1, works, findings: found, checks };
    stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
  } else {
    stdout.write(await findingsText(context, found));
  }
  return works ? 0 : 1;
}

/** Records a program that every system has, into a folder of its own. */
async function tryRecording(): Promise<Trial> {
  const [{ record }, { temporaryDirectory, removeTemporary }, { tmpdir }, { join }] =
    await Promise.all([
      import("../record.js"),
      import("../temporary.js"),
      import("node:os"),
      import("node:path"),
    ]);
  let folder: string | undefined;
  try {
    folder = temporaryDirectory(join(tmpdir(), "trace-doctor-"));
    const begin = process.hrtime.bigint();
    const { events, path } = await record({
      command: ["/bin/sh", "-c", ":"],
      output: join(folder, "test.trace"),
    });
    const millis = millisSince(begin);
    if (events === 0) return { message: "a test program gave no events", hint: undefined };
    return { events, millis, replay: await tryReplay(path) };
  } catch (error) {
    return whyFailed(error);
  } finally {
    if (folder !== undefined) removeTemporary(folder);
  }
}

/** A program that does next to nothing is stuck when it takes so long. */
const STUCK_AFTER_MS = 10_000;

async function tryReplay(path: string): Promise<ReplayTrial> {
  const [{ replay }, { openTrace }] = await Promise.all([
    import("../replay.js"),
    import("../trace/open.js"),
  ]);
  const begin = process.hrtime.bigint();
  const trace = await openTrace(path);
  try {
    const { desyncs } = await replay(trace, { stuckAfter: STUCK_AFTER_MS });
    const millis = millisSince(begin);
    const [first] = desyncs;
    if (first === undefined) return { millis };
    const { desyncReport } = await import("../replay/report.js");
    const { summary } = await desyncReport(trace, first);
    return { message: `the replay of a test program differs: ${summary}`, hint: undefined };
  } catch (error) {
    return whyFailed(error);
  } finally {
    trace.close();
  }
}

function millisSince(begin: bigint): number {
  return Math.round(Number(process.hrtime.bigint() - begin) / 1e6);
}

function whyFailed(error: unknown): { message: string; hint: string | undefined } {
  const message = error instanceof Error ? error.message : String(error);
  return { message, hint: error instanceof TraceError ? error.hint : undefined };
}

const marks = {
  ok: ["ok", "green"],
  note: ["note", "yellow"],
  bad: ["FAILS", "red"],
} as const;

async function findingsText(
  context: CommandContext<Options>,
  found: readonly Finding[],
): Promise<string> {
  const [{ painter }, { wrap }] = await Promise.all([
    import("../report/color.js"),
    import("../report/text.js"),
  ]);
  const paint = painter(colorChoice(context.options.color), context.isTTY.stdout, context.env);
  const room = Math.max(...found.map(({ topic }) => topic.length));
  const indent = " ".repeat(9 + room);
  const columns = Math.max(40, Math.min(80, terminalWidth(context)) - indent.length);
  let out = "";
  for (const { topic, verdict, text, fix } of found) {
    const [mark, style] = marks[verdict];
    const head = `${paint(style, mark.padEnd(5))}  ${topic.padEnd(room)}  `;
    out += `${head}${wrap(text, columns).join(`\n${indent}`)}\n`;
    const lines = fix === undefined ? [] : wrap(`-> ${fix}`, columns);
    lines.forEach((line, k) => {
      out += `${indent}${k === 0 ? "" : "   "}${paint("dim", line)}\n`;
    });
  }
  return out;
}
