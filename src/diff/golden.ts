/** Comparing with how it ought to be: what fails a check, and how continuous integration is told. */

import { appendFileSync } from "node:fs";
import { usageError } from "../errors.js";
import { nearestName } from "../query/nearest.js";
import { humanDuration, percent } from "../report/units.js";
import { diffMarkdown } from "./render/markdown.js";
import type { DiffResult, FileChange } from "./result.js";
import { lonePhrase, phrase, processText } from "./words.js";

const KINDS = [
  ...[
    "any",
    "new-exec",
    "new-net",
    "new-read",
    "new-write",
    "lost-file",
    "errno",
    "exit",
    "output",
  ],
  ...["slower"],
] as const;

export interface FailOn {
  readonly kinds: readonly string[];
  /** Share by which the whole may be slower; undefined: it is not asked. */
  readonly slower: number | undefined;
}

/** `new-exec,new-net,slower:20%` */
export function readFailOn(text: string | undefined): FailOn | undefined {
  if (text === undefined) return undefined;
  let slower: number | undefined;
  const kinds = text.split(",").map((word) => {
    const [kind = "", value] = word.trim().split(":");
    if (!KINDS.some((known) => known === kind)) {
      const near = nearestName(kind, [...KINDS]);
      throw usageError(
        `--fail-on: there is no ${kind}`,
        near === undefined ? `there is ${KINDS.join(", ")}` : `did you mean ${near}?`,
      );
    }
    if (kind === "slower") {
      const share = Number(/^(\d+(?:\.\d+)?)%$/.exec(value ?? "")?.[1] ?? Number.NaN);
      if (Number.isNaN(share)) throw usageError("--fail-on slower: by how much?", "slower:20%");
      slower = share / 100;
    }
    return kind;
  });
  return { kinds, slower };
}

/** A sentence for each thing that fails the check; none: it is passed. */
export function failures(result: DiffResult, { kinds, slower }: FailOn): string[] {
  const found: string[] = [];
  const wants = (kind: string) => kinds.includes(kind);
  const isNew = ({ only }: { only: string }) => only === "b";
  if (wants("any") && result.verdict === "different") found.push(result.summary);
  if (wants("new-exec")) {
    for (const lone of result.programs)
      if (isNew(lone) && lone.paths.length > 0) found.push(lonePhrase(lone));
    for (const one of result.differences)
      if (one.verb === "exec" && one.kind === "added")
        found.push(`${processText(one.process)}: ${phrase(one)}`);
    for (const { process, aspects } of result.starts) {
      const program = aspects.find(({ what }) => what === "program");
      if (program !== undefined)
        found.push(`${processText(process)}: runs ${program.b} instead of ${program.a}`);
    }
  }
  if (wants("new-net")) {
    for (const one of result.net) if (isNew(one)) found.push(`${one.what} ${one.address}`);
  }
  const files = (what: readonly FileChange["what"][], keep: (file: FileChange) => boolean) => {
    for (const file of result.files)
      if (what.includes(file.what) && keep(file)) found.push(`${file.what}: ${file.path}`);
  };
  if (wants("new-read")) files(["read", "mapped", "executed"], isNew);
  if (wants("new-write")) files(["written", "created", "deleted", "renamed"], isNew);
  if (wants("lost-file")) files(["written", "created", "read"], ({ only }) => only === "a");
  for (const one of result.differences) {
    const isErrno = one.aspects.some(({ what }) => what === "errno");
    const isOutput = /^std(?:out|err)$/.test(one.object) && one.verb === "write";
    const hit =
      (wants("errno") && isErrno) ||
      (wants("exit") && one.verb === "end") ||
      (wants("output") && isOutput);
    if (hit) found.push(`${processText(one.process)}: ${phrase(one)}`);
  }
  const [a, b] = [result.a.duration, result.b.duration];
  if (slower !== undefined && b > a * (1 + slower)) {
    found.push(`${percent(b - a, a)} % slower: ${humanDuration(a)}, now ${humanDuration(b)}`);
  }
  return [...new Set(found)];
}

type Env = Readonly<Record<string, string | undefined>>;

/** GitHub Actions gets an annotation of the run and a section of its summary. Best effort: the report is on the output. */
export async function tellActions(
  result: DiffResult,
  failed: readonly string[] | undefined,
  env: Env,
  stderr: NodeJS.WritableStream,
): Promise<void> {
  const { runsInActions, workflowCommand } = await import("../replay/github.js");
  const isBad = failed === undefined ? result.verdict === "different" : failed.length > 0;
  if (!runsInActions(env) || !isBad) return;
  const text = failed?.[0] ?? result.firstCause?.summary ?? result.summary;
  stderr.write(workflowCommand("trace diff", text));
  const path = env.GITHUB_STEP_SUMMARY ?? "";
  if (path === "") return;
  try {
    appendFileSync(path, diffMarkdown(result, failed));
  } catch {
    // The summary is for reading; the report itself is on the standard output.
  }
}
