/** What GitHub Actions is told of a desync: an annotation of the run, and a section of its summary. */

import { appendFileSync } from "node:fs";
import { shellCommand } from "../tree/shell.js";
import type { DesyncReport } from "./report.js";

type Env = Readonly<Record<string, string | undefined>>;

export function runsInActions(env: Env): boolean {
  return env.GITHUB_ACTIONS === "true";
}

/** A workflow command, as the runner reads it from either stream. Its line is ended. */
export function annotation({ seq, summary, process }: DesyncReport): string {
  const program = process.argv.length > 0 ? ` (${shellCommand(process.argv)})` : "";
  const text = `${process.thread}${program} at @${seq}: ${summary}`;
  return workflowCommand("trace replay differs from the recording", text);
}

/** An error of the run. */
export function workflowCommand(title: string, text: string): string {
  return `::error title=${property(title)}::${data(text)}\n`;
}

/** Characters that would end a workflow command or its properties. */
function data(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function property(text: string): string {
  return data(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
}

/** Appends the report to the summary of the job, when there is one to append to. Best effort. */
export function addToSummary(env: Env, reportText: string): void {
  const path = env.GITHUB_STEP_SUMMARY ?? "";
  if (path === "") return;
  // A fence that is longer than any in the text: a program decides what stands there.
  const longest = Math.max(2, ...(reportText.match(/`+/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  try {
    appendFileSync(path, `### trace replay\n\n${fence}text\n${reportText}${fence}\n`);
  } catch {
    // The summary is for reading; whoever needs the report has it on the standard error.
  }
}
