/** `trace fields`: what filters can ask about an event. */

import { usageError } from "../errors.js";
import { FIELDS, type FieldDef, findField } from "../query/fields.js";
import type { CommandContext, CommandDef } from "./command.js";
import { colorChoice, colorOption } from "./selection.js";

interface Options {
  readonly format: "text" | "json" | "md";
  readonly color?: string | true;
}

export const command: CommandDef<Options> = {
  name: "fields",
  summary: "list the fields that filters can use",
  description:
    "Filters join terms with and, or, not and parentheses. A term compares a field (= != < <= > >= in contains startswith " +
    "endswith glob ~ exists), names calls (openat, %file, /^get/), events (@10..@20), times (1s..2s) or a process (p3).",
  arguments: [{ name: "[fields...]", help: "only these", complete: "none" }],
  options: [
    {
      flags: "--format <format>",
      help: "how to print",
      choices: ["text", "json", "md"],
      default: "text",
    },
    colorOption,
  ],
  examples: [
    { line: "trace fields", help: "all of them" },
    { line: "trace fields fd.path dur", help: "two of them" },
  ],
  run,
};

function chosen(names: readonly string[]): readonly FieldDef[] {
  if (names.length === 0) return FIELDS;
  return names.map((name) => {
    const found = FIELDS.find((field) => field.name === name) ?? findField(name)?.def;
    if (found === undefined)
      throw usageError(`there is no field '${name}'`, "trace fields lists them");
    return found;
  });
}

async function run(context: CommandContext<Options>): Promise<number> {
  const { options, stdout, args } = context;
  const fields = chosen(args);
  if (options.format === "json") {
    const list = fields.map(({ name, type, doc, example, aliases = [], choices = [] }) => ({
      name,
      type,
      doc,
      example,
      aliases,
      choices,
    }));
    stdout.write(
      `${JSON.stringify({ schema: "trace.fields", version: 1, fields: list }, undefined, 2)}\n`,
    );
    return 0;
  }
  const [{ painter }, { tableMarkdown, tableText }, { wrap }] = await Promise.all([
    import("../report/color.js"),
    import("../report/table.js"),
    import("../report/text.js"),
  ]);
  const columns = [
    { head: "field", align: "left" },
    { head: "type", align: "left" },
    { head: "what it is", align: "left" },
  ] as const;
  if (options.format === "md") {
    const rows = fields.map((field) => [field.name, field.type, field.doc, field.example]);
    stdout.write(tableMarkdown([...columns, { head: "example", align: "left" }], rows));
    return 0;
  }
  const paint = painter(colorChoice(options.color), context.isTTY.stdout, context.env);
  const rows = fields.flatMap((field) => {
    const [first = "", ...rest] = wrap(field.doc, docWidth);
    return [
      [{ text: namesOf(field), style: "cyan" as const }, field.type, first],
      ...rest.map((line) => ["", "", line]),
      ["", "", { text: field.example, style: "dim" as const }],
    ];
  });
  stdout.write(tableText(columns, rows, { paint }));
  return 0;
}

/** Columns of the text on a terminal of 80. */
const docWidth = 54;

function namesOf(field: FieldDef): string {
  return [field.name, ...(field.aliases ?? [])].join(", ");
}
