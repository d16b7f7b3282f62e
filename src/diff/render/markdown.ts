/** A result as Markdown: short enough for a comment on a pull request, with the long parts folded. */

import { tableMarkdown } from "../../report/table.js";
import { printable } from "../../report/text.js";
import { humanCount, humanDuration } from "../../report/units.js";
import type { Cause, DiffResult } from "../result.js";
import { lonePhrase, phrase, processText } from "../words.js";
import { grouped } from "./text.js";

/** Rows of each table. */
const MOST_ROWS = 50;

/** `failed`: what failed a check; undefined when there was none. */
export function diffMarkdown(result: DiffResult, failed: readonly string[] | undefined): string {
  const good = failed === undefined ? result.verdict === "same" : failed.length === 0;
  const parts = [`### ${good ? "✅" : "❌"} trace diff: ${escaped(result.summary)}\n`];
  for (const note of result.notes) parts.push(`> ${escaped(note)}\n`);
  if (failed !== undefined && failed.length > 0) {
    parts.push(`**Not allowed**\n\n${failed.map((line) => `- ${escaped(line)}\n`).join("")}`);
  }
  if (result.firstCause !== undefined) parts.push(causeText(result.firstCause));
  if (result.otherCauses.length > 0) {
    const lines = result.otherCauses.map(({ summary }) => `- ${escaped(summary)}\n`);
    parts.push(`**Besides, from outside**\n\n${lines.join("")}`);
  }
  parts.push(...tables(result));
  const sides = `${runText(result.a)} against ${runText(result.b)}`;
  parts.push(`<sub>${escaped(sides)}</sub>\n`);
  return `${parts.join("\n")}`;
}

function runText({ path, events, duration }: DiffResult["a"]): string {
  return `${path} (${humanCount(events)} events, ${humanDuration(duration)})`;
}

function causeText(cause: Cause): string {
  const { lines } = cause;
  const context = [cause.contextA, cause.contextB].flatMap((side, k) =>
    side.map(
      ({ mark, seq, thread, text }) => `${"AB"[k]} ${mark ? ">" : " "} @${seq} ${thread} ${text}`,
    ),
  );
  const changed = lines.length === 0 ? "" : `\n${fenced("diff", lines)}`;
  const then = cause.consequences.map((line) => `- then: ${escaped(line)}\n`).join("");
  const around =
    context.length === 0 ? "" : folded("calls around it", `${fenced("text", context)}`);
  return `**First cause**: ${escaped(cause.summary)}\n${changed}\n${then}\n${around}`;
}

function tables(result: DiffResult): string[] {
  const parts: string[] = [];
  const sign = (only: string) => (only === "a" ? "-" : only === "b" ? "+" : "~");
  const left = (head: string) => ({ head, align: "left" as const });
  const add = (title: string, columns: readonly string[], rows: readonly string[][]): void => {
    if (rows.length === 0) return;
    const table = tableMarkdown(columns.map(left), rows.slice(0, MOST_ROWS));
    const more = rows.length > MOST_ROWS ? `\n${rows.length - MOST_ROWS} more\n` : "";
    parts.push(folded(`${title} (${rows.length})`, `${table}${more}`));
  };
  add(
    "Files",
    ["", "what", "path", ""],
    result.files.map((f) => [sign(f.only), f.what, safe(f.path), safe(f.note)]),
  );
  add(
    "Programs",
    ["", "program"],
    result.programs.map((one) => [sign(one.only), safe(lonePhrase(one))]),
  );
  add(
    "Network",
    ["", "what", "address"],
    result.net.map((n) => [sign(n.only), n.what, safe(n.address)]),
  );
  add(
    "Events",
    ["process", "what", "A", "B"],
    grouped(result.differences).map(({ one, times }) => [
      safe(processText(one.process)),
      safe(phrase(one) + (times > 1 ? ` (${times} times)` : "")),
      one.a === undefined ? "" : `@${one.a.seq}`,
      one.b === undefined ? "" : `@${one.b.seq}`,
    ]),
  );
  return parts;
}

function folded(title: string, body: string): string {
  return `<details><summary>${title}</summary>\n\n${body}\n</details>\n`;
}

function fenced(language: string, lines: readonly string[]): string {
  const text = lines.map(printable).join("\n");
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}\n`;
}

/** HTML in a cell of a table. */
function safe(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** Text that a program chose, in the middle of Markdown. */
function escaped(text: string): string {
  return printable(text)
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replace(/[\\`*_[\]|]/g, "\\$&");
}
