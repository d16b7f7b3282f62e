/**
 * What two recordings loaded differently. Programs are paired by their path and how often it had been started before; files by
 * the name by which they are needed, so that a library that was swapped is one line, however many processes have it.
 */

import { baseName } from "../report/path.js";
import { printable } from "../report/text.js";
import { processName } from "../trace/process.js";
import { causeText } from "./render.js";
import type { LoadedImage, LoadedProgram } from "./tree.js";

export interface ElfDifference {
  readonly kind: "changed" | "added" | "removed" | "cause" | "program-added" | "program-removed";
  /** The name of the file, or the path of the program. */
  readonly name: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
  /** Of the second recording; of the first where the second has none. */
  readonly processes: readonly string[];
}

type Draft = ElfDifference & { processes: string[] };

/** Programs by path and number of the start. */
function byStart(programs: readonly LoadedProgram[]): Map<string, LoadedProgram> {
  const counts = new Map<string, number>();
  const found = new Map<string, LoadedProgram>();
  for (const program of programs) {
    const { path, forked } = program.loaded;
    if (forked && program.images.length === 0) continue;
    const key = `${path}\0${forked ? "fork" : "exec"}`;
    const count = counts.get(key) ?? 0;
    counts.set(key, count + 1);
    found.set(`${key}\0${count}`, program);
  }
  return found;
}

function nameOf({ image, facts, cause }: LoadedImage): string {
  if (cause.kind === "program") return "the program";
  return facts?.soname ?? baseName(image.opened?.path ?? image.path);
}

/** Images by name; a name that comes again (dlopen after dlclose) gets a number. */
function byName({ images }: LoadedProgram): Map<string, LoadedImage> {
  const found = new Map<string, LoadedImage>();
  for (const image of images) {
    if (image.cause.kind === "kernel") continue;
    let name = nameOf(image);
    for (let k = 2; found.has(name); k++) name = `${nameOf(image)} (${k})`;
    found.set(name, image);
  }
  return found;
}

/** A file in words: where it is, and which build of it. */
function fileText({ image }: LoadedImage): string {
  const { path, buildId, hash } = image;
  if (buildId !== "") return `${path} (build id ${buildId.slice(0, 12)})`;
  return hash === "" ? path : `${path} (content ${hash.slice(0, 12)})`;
}

/** A cause without what differs from run to run. */
function kindOf({ cause }: LoadedImage): string {
  if (cause.kind === "needed") return `needed by ${baseName(cause.by.path)}`;
  return cause.kind === "dlopen" ? "dlopen" : causeText(cause);
}

export function elfDifferences(
  before: readonly LoadedProgram[],
  after: readonly LoadedProgram[],
): ElfDifference[] {
  const found = new Map<string, Draft>();
  const add = (program: LoadedProgram, difference: Omit<ElfDifference, "processes">) => {
    const key = JSON.stringify(difference);
    const known = found.get(key);
    const process = processName(program.loaded.process);
    if (known === undefined) found.set(key, { ...difference, processes: [process] });
    else known.processes.push(process);
  };
  const [first, second] = [byStart(before), byStart(after)];
  for (const [key, program] of first) {
    const other = second.get(key);
    const name = program.loaded.path;
    if (other !== undefined) compare(program, other, add);
    else add(program, { kind: "program-removed", name, before: name, after: undefined });
  }
  for (const [key, program] of second) {
    const name = program.loaded.path;
    if (!first.has(key)) {
      add(program, { kind: "program-added", name, before: undefined, after: name });
    }
  }
  return [...found.values()];
}

function compare(
  one: LoadedProgram,
  other: LoadedProgram,
  add: (program: LoadedProgram, difference: Omit<ElfDifference, "processes">) => void,
): void {
  const [had, has] = [byName(one), byName(other)];
  for (const [name, image] of had) {
    const now = has.get(name);
    if (now === undefined) {
      add(one, { kind: "removed", name, before: fileText(image), after: undefined });
    } else if (image.image.path !== now.image.path || image.image.hash !== now.image.hash) {
      add(other, { kind: "changed", name, before: fileText(image), after: fileText(now) });
    } else if (kindOf(image) !== kindOf(now)) {
      add(other, { kind: "cause", name, before: kindOf(image), after: kindOf(now) });
    }
  }
  for (const [name, image] of has) {
    if (had.has(name)) continue;
    add(other, { kind: "added", name, before: undefined, after: fileText(image) });
  }
}

/** Most processes that are named in a line. */
const NAMED = 3;

export function differenceText(difference: ElfDifference): string {
  const { kind, name, before = "", after = "", processes } = difference;
  const more = processes.length - NAMED;
  const named = processes.slice(0, NAMED).join(", ");
  const where = `in ${named}${more > 0 ? ` and ${more} more` : ""}`;
  const text = {
    changed: `~ ${name}: ${before} -> ${after}`,
    cause: `~ ${name}: ${before} -> ${after}`,
    added: `+ ${name}: ${after}`,
    removed: `- ${name}: ${before}`,
    "program-added": `+ program ${name}`,
    "program-removed": `- program ${name}`,
  }[kind];
  return `${printable(`${text}, ${where}`)}\n`;
}

export function differencesJson(differences: readonly ElfDifference[]): string {
  const list = differences.map((one) => ({
    ...one,
    before: one.before ?? null,
    after: one.after ?? null,
  }));
  return `${JSON.stringify({ schema: "trace.elf-diff", version: 1, differences: list }, undefined, 2)}\n`;
}
