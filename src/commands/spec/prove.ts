/** `trace spec prove`: is a spec enough for its program, and is it tight? Exit code 0 yes, 2 no, 3 cannot tell. */

import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { TraceError } from "../../errors.js";
import { printable } from "../../report/text.js";
import { counted, humanDuration } from "../../report/units.js";
import { allowingLine } from "../../spec/check.js";
import { readSpec, specText } from "../../spec/file.js";
import { type Learner, learnerOf } from "../../spec/learner.js";
import type { Spec } from "../../spec/model.js";
import type { Proof } from "../../spec/prove.js";
import { ENDING, removeTemporary, temporaryDirectory } from "../../temporary.js";
import type { CommandContext, CommandDef, ExitStatus } from "../command.js";
import { timeSpan } from "../values.js";
import {
  deliver,
  outputOptions,
  refuseExisting,
  tokensHere,
  tracesOf,
  withTraces,
} from "./shared.js";

interface Options {
  readonly minimize?: boolean;
  readonly output?: string;
  readonly force?: boolean;
  readonly record?: string;
  readonly supervise: "auto" | "always" | "never";
  readonly weaker?: boolean;
  readonly timeout?: number;
  readonly format: "text" | "json";
}

export const command: CommandDef<Options> = {
  name: "spec prove",
  summary: "is a spec enough for its program, and is it tight?",
  description:
    "The recordings are checked; the program is run again under enforcement, recorded, and compared with them: the first call that is " +
    "refused and had worked before is told with the grant that is missing. Then attempts are made, as each role, at what it " +
    "was not granted (secrets, network, MPTCP, UDP, a shell, io_uring, signals, files outside): all must fail. " +
    "Exit code 0: proved; 2: not; 3: all of that held, but a recording cannot tell everything (io_uring, lost events).",
  arguments: [
    { name: "<spec>", help: "spec file" },
    {
      name: "[words...]",
      help: "recordings (those of the spec if left out), then -- and the program",
    },
  ],
  passThrough: true,
  options: [
    {
      flags: "--minimize",
      help: "try to leave out what it may read, list and look at, and write a spec of what it has to",
    },
    ...outputOptions,
    { flags: "--record <file>", help: "keep the recording of the enforced run" },
    {
      flags: "--supervise <when>",
      help: "as for trace spec run",
      choices: ["auto", "always", "never"],
      default: "auto",
    },
    { flags: "--weaker", help: "go on although this kernel lacks a guarantee" },
    {
      flags: "--timeout <time>",
      help: "end a run that takes longer (30, 10m); ten times the longest recording, 60s at least, if left out",
      parse: timeSpan,
    },
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "json"],
      default: "text",
    },
  ],
  examples: [
    { line: "trace spec prove app.spec", help: "with the recordings and the command of the spec" },
    {
      line: "trace spec prove --minimize -o small.spec app.spec",
      help: "and leave out what is not needed",
    },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<ExitStatus> {
  const { args, options, env } = context;
  const [path = "", ...words] = args;
  const spec = readSpec(path);
  const dashes = words.indexOf("--");
  const named = dashes < 0 ? words : words.slice(0, dashes);
  const given = dashes < 0 ? [] : words.slice(dashes + 1);
  const command = given.length > 0 ? given : spec.command;
  if (command.length === 0) {
    throw new TraceError("USAGE", "the spec does not say what program to run", {
      hint: "trace spec prove SPEC -- PROGRAM",
    });
  }
  // Before anything is run: what is found takes long to find.
  if (options.minimize === true) refuseExisting(options.output, options.force === true);
  const baselines = named.length > 0 ? named : tracesOf(spec);
  const tokens = tokensHere(env);
  const { prove, timeLimit } = await import("../../spec/prove.js");
  let timeout = options.timeout ?? 0;
  const proof = await withTraces(baselines, context, (traces) => {
    timeout ||= timeLimit(traces);
    return prove(spec, traces, {
      command,
      tokens,
      timeout,
      supervise: options.supervise,
      weaker: options.weaker === true,
      ...(options.record !== undefined && { output: options.record }),
    });
  });
  context.stderr.write(
    options.format === "json"
      ? `${JSON.stringify({ schema: 1, ...summaryOf(proof) }, undefined, 2)}\n`
      : textOf(proof, spec, learnerOf(spec, tokens)),
  );
  if (!proof.proved) return 2;
  if (options.minimize === true) {
    const signal = await writeMinimal(context, spec, command, { timeout, ended: proof.run.ended });
    if (signal !== undefined) return { signal };
  }
  return tellsAll(proof) ? 0 : 3;
}

/** Whether nothing that the program did can be missing in its recordings. */
const tellsAll = ({ checks }: Proof) => checks.every(({ unknown }) => unknown.length === 0);

/** Proofs without the policy, which is long. */
function summaryOf({ compiled, ...rest }: Proof): object {
  return { ...rest, supervised: compiled.policy.supervised, coarse: compiled.coarse };
}

function textOf(proof: Proof, spec: Spec, learner: Learner): string {
  const { checks, run: own, probes, compiled, kernel, landlock } = proof;
  const lines: string[] = [];
  for (const { trace, violations, unknown } of checks) {
    if (violations.length > 0) {
      lines.push(
        `${trace}: ${counted(violations.length, "access", "accesses")} outside the spec (trace spec check)`,
      );
    }
    for (const line of unknown) lines.push(`${trace}: cannot tell: ${line}`);
  }
  if (own.late !== undefined) {
    lines.push(
      `under enforcement the program had not ended after ${humanDuration(own.late * 1e6)}, and was ended; --timeout gives it more`,
    );
  }
  if (own.fatal !== undefined) {
    const { role, verb, object, error, seq, grant } = own.fatal;
    lines.push(`${role}: ${verb} ${object} fails with ${error} (@${seq}), and worked before`);
    lines.push(`  to allow it: ${allowingLine(spec.roles, role, learner.proposal(grant))}`);
  } else if (own.late === undefined && own.before !== undefined && own.before !== own.ended) {
    lines.push(`under enforcement the program ends with ${own.ended}, before with ${own.before}`);
    const first = own.refusals.find(({ forbidden }) => !forbidden);
    if (first !== undefined)
      lines.push(
        `  first refusal: ${first.role}: ${allowingLine(spec.roles, first.role, learner.proposal(first.grant))}`,
      );
  }
  const passed = probes.filter(({ denied }) => !denied);
  for (const { role, what, result } of passed) lines.push(`${role} can ${what} (${result})`);
  const kinds = [...new Set(probes.map(({ what }) => what.replace(/ \(.*/, "")))];
  const how = compiled.policy.supervised ? "supervised" : "kernel only";
  lines.push(
    `attempts that failed, as they should: ${probes.length - passed.length} of ${probes.length} (${kinds.join(", ")})`,
  );
  lines.push(...compiled.coarse.map((line) => `note: ${line}`));
  const held = tellsAll(proof) ? "proved" : "proved as far as recordings can tell";
  const verdict = proof.proved ? held : "not proved";
  lines.push(
    `${verdict} on ${counted(checks.length, "recording")} and an enforced run (${own.ended}, ${how}); Linux ${kernel}, Landlock ${landlock}`,
  );
  return `${lines.map(printable).join("\n")}\n`;
}

/** What a run prints and how it ends. */
interface Outcome {
  readonly text: string;
  readonly errors: string;
}

/**
 * Runs the program again and again with fewer grants; what it prints and how it `ended` has to stay the same. A signal ends that: what
 * was found until then is written all the same, and the signal given back.
 */
async function writeMinimal(
  context: CommandContext<Options>,
  spec: Spec,
  command: readonly string[],
  { timeout, ended }: { readonly timeout: number; readonly ended: string },
): Promise<number | undefined> {
  const { minimize } = await import("../../spec/prove.js");
  const { options } = context;
  const folder = temporaryDirectory(join(tmpdir(), "trace-minimize-"));
  const interruption = new Interruption();
  try {
    const outcome = (trial: Spec) => {
      const file = join(folder, "trial.spec");
      writeFileSync(file, specText(trial));
      const own = ["-q", `--supervise=${options.supervise}`, `--timeout=${timeout}ms`];
      const words = [CLI, "spec", "run", ...own, file, "--", ...command];
      return outcomeOf(words, timeout + SPARE_MS, interruption);
    };
    const wanted = await outcome(spec);
    const again = wanted && (await outcome(spec));
    if (again === undefined) return interruption.signal;
    if (wanted?.text !== again.text || !again.text.startsWith(`${ended}\n`)) {
      throw new TraceError(
        "NOT_REPEATABLE",
        "the program does not print and end the same when it is run again: what it needs cannot be tried",
        { hint: "run it so that each run finds what the first one found" },
      );
    }
    // Programs tell of what they lack, and some then go on.
    const isSilent = wanted.errors === again.errors;
    const found = await minimize(spec, async (trial) => {
      const now = await outcome(trial);
      return now && now.text === wanted.text && (!isSilent || now.errors === wanted.errors);
    });
    deliver(context, specText(found.spec), options.output, options.force === true);
    const rest = found.isWhole
      ? ""
      : "; interrupted: grants that were not tried by then are left in";
    context.stderr.write(
      `trace: ${counted(found.removed, "grant")} left out; the program prints and ends the same without${rest}\n`,
    );
    return interruption.signal;
  } finally {
    interruption.forget();
    removeTemporary(folder);
  }
}

/** A signal that ends this command, once it has put away what it has. */
class Interruption {
  /** Its number. */
  signal: number | undefined;
  #end: (how: NodeJS.Signals) => void = () => {};
  readonly #handle = (_name: string, signal: number): void => {
    // A second one waits for nothing.
    this.#end(this.signal === undefined ? "SIGTERM" : "SIGKILL");
    this.signal ??= signal;
  };

  constructor() {
    for (const name of ENDING) process.on(name, this.#handle);
  }

  /** How to end what runs now. */
  set ends(end: (how: NodeJS.Signals) => void) {
    this.#end = end;
  }

  forget(): void {
    for (const name of ENDING) process.off(name, this.#handle);
  }
}

/** Runs this program with these words. Undefined when a signal has come meanwhile: then nothing can be told by it. */
async function outcomeOf(
  words: readonly string[],
  timeout: number,
  interruption: Interruption,
): Promise<Outcome | undefined> {
  if (interruption.signal !== undefined) return undefined;
  const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "pipe"] });
  interruption.ends = (how) => child.kill(how);
  // It ends by itself before.
  const timer = setTimeout(() => child.kill("SIGKILL"), timeout);
  const [text, errors] = [child.stdout, child.stderr].map((stream) => gathered(stream, child));
  try {
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>(
      (resolve, reject) => {
        child.once("error", reject);
        child.once("close", (...how) => resolve(how));
      },
    );
    if (interruption.signal !== undefined) return undefined;
    const how = signal === null ? `exit ${code}` : `signal ${constants.signals[signal]}`;
    return { text: `${how}\n${text?.() ?? ""}`, errors: errors?.() ?? "" };
  } finally {
    clearTimeout(timer);
    interruption.ends = () => {};
  }
}

/** What comes out of a stream, byte by byte; who sends too much of it is ended. */
function gathered(stream: Readable, child: ChildProcess): () => string {
  const pieces: Buffer[] = [];
  let length = 0;
  stream.on("data", (piece: Buffer) => {
    length += piece.length;
    if (length > MOST_OUTPUT) child.kill("SIGKILL");
    else pieces.push(piece);
  });
  return () => Buffer.concat(pieces).toString("latin1");
}

/** Most bytes of output that are compared. */
const MOST_OUTPUT = 1 << 28;

/** How long a run that is ended may take to end. */
const SPARE_MS = 10_000;

/** This very command. */
const CLI = process.argv[1] ?? fileURLToPath(new URL("../../cli.js", import.meta.url));
