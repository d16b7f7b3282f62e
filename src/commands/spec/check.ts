/** `trace spec check`: does a recording stay inside a spec? Exit code 0 yes, 2 no, 3 cannot tell. */

import { printable } from "../../report/text.js";
import { counted } from "../../report/units.js";
import type { CheckResult, Violation } from "../../spec/check.js";
import { defaultTrace } from "../../state.js";
import type { CommandContext, CommandDef } from "../command.js";
import { splitSpec, withTraces } from "./shared.js";

interface Options {
  readonly format: "text" | "json";
}

export const command: CommandDef<Options> = {
  name: "spec check",
  summary: "does a recording stay inside a spec?",
  description:
    "Every access that the spec does not grant is listed with the event that asked for it and the line that would grant it. " +
    "Exit code 0: it stays inside; 2: it does not; 3: the recording cannot tell (io_uring, lost events).",
  arguments: [
    { name: "<spec>", help: "spec file" },
    { name: "[traces...]", help: "recordings; the latest one if left out" },
  ],
  options: [
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "json"],
      default: "text",
    },
  ],
  examples: [
    { line: "trace spec check app.spec next.trace", help: "did the next run stay inside?" },
  ],
  run,
};

interface Checked extends CheckResult {
  readonly trace: string;
}

async function run(context: CommandContext<Options>): Promise<number> {
  const { spec, rest } = splitSpec(context.args);
  const latest = defaultTrace(context.env);
  const paths = rest.length > 0 ? rest : latest === undefined ? [] : [latest];
  const { checkTrace, grantLine } = await import("../../spec/check.js");
  const results = await withTraces(paths, context, async (traces) => {
    const all: Checked[] = [];
    for (const trace of traces) all.push({ ...(await checkTrace(spec, trace)), trace: trace.path });
    return all;
  });
  if (context.options.format === "json") {
    context.stdout.write(`${JSON.stringify({ schema: 1, results }, undefined, 2)}\n`);
  } else {
    for (const result of results) context.stdout.write(textOf(result, grantLine));
  }
  if (results.some(({ violations }) => violations.length > 0)) return 2;
  return results.some(({ unknown }) => unknown.length > 0) || results.length === 0 ? 3 : 0;
}

function textOf(
  { trace, violations, unknown, accesses }: Checked,
  grantLine: (grant: Violation["grant"]) => string,
): string {
  const lines: string[] = [];
  let role = "";
  for (const violation of violations) {
    if (violation.role !== role) {
      role = violation.role;
      lines.push(violation.isUnknownRole ? `${role}: the spec has no such program` : role);
    }
    const often = violation.count > 1 ? `, ${counted(violation.count, "time")}` : "";
    lines.push(`  @${violation.first}  ${violation.verb} ${violation.object}${often}`);
    lines.push(`      to allow it: ${grantLine(violation.grant)}`);
  }
  for (const line of unknown) lines.push(`cannot tell: ${line}`);
  const verdict =
    violations.length > 0
      ? `${counted(violations.length, "access", "accesses")} outside the spec, of ${accesses}`
      : `inside the spec: ${counted(accesses, "different access", "different accesses")}`;
  lines.push(`${trace}: ${verdict}`);
  return `${lines.map(printable).join("\n")}\n`;
}
