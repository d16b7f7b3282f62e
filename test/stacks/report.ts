/** The result of a comparison as bench/stacks.md. */

import { fileURLToPath } from "node:url";
import { writeSection } from "../../bench/section.js";
import { CLASSES, type Score } from "./compare.js";
import { PLACE_CLASSES, type Places } from "./places.js";

export interface Line {
  readonly name: string;
  readonly score?: Score & { readonly alone: number };
  readonly failure?: string;
}

/** The file, and what it begins with. */
export const target = fileURLToPath(new URL("../../bench/stacks.md", import.meta.url));
export const TITLE = "# Stacks: beside gdb and addr2line, and what they cost";

function listed(classes: Readonly<Record<string, number | undefined>>): string {
  return Object.entries(classes)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ");
}

function programRows(lines: readonly Line[]): string[] {
  return lines.map(({ name, score, failure }) =>
    score === undefined
      ? `| ${name} | failed: ${failure} | | | | |`
      : `| ${name} | ${score.calls} | ${score.frames} | ${score.same} | ${listed(score.classes)} | ${score.differences.length} |`,
  );
}

function totals(lines: readonly Line[]): string {
  const scores = lines.flatMap(({ score }) => score ?? []);
  const sum = (of: (score: Score) => number) =>
    scores.reduce((total, score) => total + of(score), 0);
  const classes: Record<string, number> = {};
  for (const score of scores) {
    for (const [name, count] of Object.entries(score.classes))
      classes[name] = (classes[name] ?? 0) + count;
  }
  const different = sum((score) => score.differences.length);
  return `| all ${lines.length} | ${sum((score) => score.calls)} | ${sum((score) => score.frames)} | ${sum((score) => score.same)} | ${listed(classes)} | ${different} |`;
}

function reasons(table: Readonly<Record<string, string>>): string[] {
  return Object.entries(table).map(([name, reason]) => `- **${name}**: ${reason}.`);
}

function framesText(lines: readonly Line[]): string {
  return [
    "A program is recorded, and run under gdb, which stops it at each call. Function, file, line and what is inlined of each frame are",
    "compared. A frame that differs for a known reason counts there, and not as the same.",
    "",
    "| program | calls | frames | the same | known reasons | different |",
    "|---|---|---|---|---|---|",
    ...programRows(lines),
    totals(lines),
    "",
    ...reasons(CLASSES),
  ].join("\n");
}

function placesText(places: readonly Places[]): string {
  return [
    "| file | addresses | the same | known reasons | different |",
    "|---|---|---|---|---|",
    ...places.map(
      ({ name, all, same, classes, differences }) =>
        `| ${name} | ${all} | ${same} | ${listed(classes)} | ${differences.length} |`,
    ),
    "",
    ...reasons(PLACE_CLASSES),
  ].join("\n");
}

/** Writes these sections of the file; another one is what `npm run bench:stacks` has measured. */
export function write(lines: readonly Line[], places: readonly Places[]): void {
  writeSection(target, TITLE, "Frames at every call, beside gdb", framesText(lines));
  const heading = "Functions and lines at 10,000 addresses, beside addr2line -i";
  writeSection(target, TITLE, heading, placesText(places));
}
