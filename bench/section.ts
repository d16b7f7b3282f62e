/** Reports that several commands write, each a section of its own. */

import { existsSync, readFileSync, writeFileSync } from "node:fs";

/**
 * Writes a section of a Markdown file: in place of the one that has the same heading (`## ...`), else at the end. `head` is
 * what the file begins with when it is new.
 */
export function writeSection(file: string, head: string, heading: string, text: string): void {
  const before = existsSync(file) ? readFileSync(file, "utf8") : `${head}\n`;
  const sections = before.split(/^(?=## )/m);
  const own = `## ${heading}\n\n${text.trim()}\n`;
  const at = sections.findIndex((section) => section.startsWith(`## ${heading}\n`));
  if (at < 0) sections.push(own);
  else sections[at] = own;
  writeFileSync(file, `${sections.map((section) => section.trim()).join("\n\n")}\n`);
}
