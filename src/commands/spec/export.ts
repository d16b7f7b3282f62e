/** `trace spec export`: a spec in the format of another tool, and what becomes of each grant there. */

import { usageError } from "../../errors.js";
import { printable } from "../../report/text.js";
import { counted } from "../../report/units.js";
import type { Exported } from "../../spec/export/target.js";
import { knownCalls, TARGETS } from "../../spec/export/targets.js";
import { grantText, rootRole } from "../../spec/model.js";
import type { CommandContext, CommandDef } from "../command.js";
import { deliver, outputOptions, splitSpec, tokensHere } from "./shared.js";

interface Options {
  readonly to?: string;
  readonly output?: string;
  readonly force?: boolean;
  readonly base: string;
  readonly name?: string;
  readonly losses?: boolean;
}

const names = TARGETS.map(({ name }) => name);

export const command: CommandDef<Options> = {
  name: "spec export",
  summary: "a spec in the format of another tool",
  description:
    `Formats: ${TARGETS.map(({ name, summary }) => `${name} (${summary})`).join("; ")}.\n\n` +
    "On the standard error stands what becomes of the grants there: kept, widened (this and more) or lost (not expressed). " +
    "With --losses every grant is listed.",
  arguments: [{ name: "<spec>", help: "spec file" }],
  options: [
    { flags: "--to <format>", help: "which tool", choices: names },
    ...outputOptions,
    {
      flags: "--base <runtime>",
      help: "oci-seccomp: whose own calls are allowed too",
      choices: ["runc", "crun", "none"],
      default: "runc",
    },
    { flags: "--name <name>", help: "name of the profile, unit or policy" },
    { flags: "--losses", help: "list what becomes of every grant" },
  ],
  examples: [
    { line: "trace spec export --to=systemd -o app.service app.spec", help: "a unit" },
    { line: "trace spec export --to=apparmor --losses app.spec", help: "what does it keep?" },
  ],
  run,
};

async function run(context: CommandContext<Options>): Promise<number> {
  const { options } = context;
  const target = TARGETS.find(({ name }) => name === options.to);
  if (target === undefined) throw usageError("no format is named", `--to=${names.join(", --to=")}`);
  const { spec } = splitSpec(context.args);
  const root = spec.roles[rootRole(spec)] ?? spec.roles[0];
  const exported = target.export(spec, {
    tokens: tokensHere(context.env),
    base: options.base,
    name: options.name ?? root?.name ?? "spec",
    known: knownCalls(target.name),
  });
  deliver(context, exported.text, options.output, options.force === true);
  context.stderr.write(report(exported, options.losses === true));
  return 0;
}

function report({ judged, remarks }: Exported, isFull: boolean): string {
  const lines: string[] = [];
  if (isFull) {
    for (const { role, grant, verdict, note } of judged) {
      lines.push(
        `${verdict.padEnd(8)}${role}: ${grantText(grant)}${note === undefined ? "" : ` (${note})`}`,
      );
    }
  } else {
    // Each kind of loss once, with how many grants it concerns.
    const kinds = new Map<string, number>();
    for (const { grant, verdict, note } of judged) {
      if (verdict === "kept") continue;
      const key = `${verdict.padEnd(8)}${grant.verb.replace(/:.*/, ":*")}${note === undefined ? "" : `: ${note}`}`;
      kinds.set(key, (kinds.get(key) ?? 0) + 1);
    }
    for (const [key, count] of kinds) lines.push(`${key} (${counted(count, "grant")})`);
  }
  const count = (verdict: string) => judged.filter((one) => one.verdict === verdict).length;
  lines.push(...remarks.map((remark) => `note: ${remark}`));
  lines.push(`${count("kept")} grants kept, ${count("widened")} widened, ${count("lost")} lost`);
  return `${lines.map(printable).join("\n")}\n`;
}
