/** `trace spec metrics`: how much authority a spec gives. */

import { percent } from "../../report/units.js";
import type { SpecMetrics } from "../../spec/metrics.js";
import type { CommandContext, CommandDef } from "../command.js";
import { splitSpec, tokensHere } from "./shared.js";

interface Options {
  readonly format: "text" | "json";
}

export const command: CommandDef<Options> = {
  name: "spec metrics",
  summary: "how much authority a spec gives, granted against used",
  description:
    "Files are those that grants name and that patterns match now. Roles that may read a secret and reach the network are " +
    "pointed out: what one reads the other can send away.",
  arguments: [{ name: "<spec>", help: "spec file" }],
  options: [
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "json"],
      default: "text",
    },
  ],
  async run(context: CommandContext<Options>): Promise<number> {
    const { specMetrics } = await import("../../spec/metrics.js");
    const { spec } = splitSpec(context.args);
    const metrics = specMetrics(spec, tokensHere(context.env));
    context.stdout.write(
      context.options.format === "json"
        ? `${JSON.stringify({ schema: 1, ...metrics }, undefined, 2)}\n`
        : await textOf(metrics),
    );
    return 0;
  },
};

async function textOf(metrics: SpecMetrics): Promise<string> {
  const { tableText } = await import("../../report/table.js");
  const right = (head: string) => ({ head, align: "right" }) as const;
  const rows = metrics.roles.map((role) => [
    role.role,
    `${role.filesUsed}/${role.filesGranted}`,
    `${role.portsUsed}/${role.portsGranted}`,
    `${role.callsUsed}/${role.callsGranted}`,
    role.network ? "yes" : "no",
    role.secrets.join(" "),
  ]);
  const columns = [
    { head: "role", align: "left" } as const,
    right("files used/granted"),
    right("addresses"),
    right("syscalls"),
    { head: "network", align: "left" } as const,
    { head: "secrets", align: "left" } as const,
  ];
  const both = metrics.roles.filter(({ secrets, network }) => secrets.length > 0 && network);
  const lines = both.map(
    ({ role, secrets }) => `${role} holds a secret and the network: ${secrets.join(", ")}`,
  );
  const { grants, grantsAsOneProfile } = metrics;
  lines.push(
    `${grants} grants; as one profile for all programs it would be ${grantsAsOneProfile} (${percent(grants, grantsAsOneProfile)} %)`,
  );
  return `${tableText(columns, rows)}${lines.join("\n")}\n`;
}
