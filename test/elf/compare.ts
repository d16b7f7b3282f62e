/**
 * What the dynamic loader itself says it has loaded, against what `trace elf` tells of the same run: names, load biases and who
 * needed what by LD_DEBUG=files (ld.so(8)), names and paths by ldd(1).
 */

import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { factsOf } from "../../src/elf/facts.js";
import { loadedImages } from "../../src/elf/images.js";
import { type LoadedProgram, treeOf } from "../../src/elf/tree.js";
import { hexText } from "../../src/show/notation.js";
import { openTrace } from "../../src/trace/open.js";

export interface ElfProgram {
  readonly name: string;
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Loaders that know no LD_DEBUG. */
  readonly plain?: boolean;
}

export interface Recorder {
  /** Words in front of the program. */
  readonly words: (file: string) => readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly folder: string;
}

/** Records the program, with the loader's own messages beside it; the first process of the trace. */
export async function recorded(program: ElfProgram, recorder: Recorder) {
  const folder = join(recorder.folder, "runs", program.name);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "run.trace");
  const debug = program.plain
    ? {}
    : { LD_DEBUG: "files", LD_DEBUG_OUTPUT: join(folder, "ld-debug") };
  const [first = "", ...rest] = [...recorder.words(file), "env", ...assignments(program, debug)];
  const ran = spawnSync(first, [...rest, ...program.argv], {
    env: recorder.env,
    encoding: "utf8",
    input: "",
    timeout: 60_000,
  });
  const trace = await openTrace(file);
  const { programs } = await loadedImages(trace);
  const facts = await factsOf(trace, programs);
  trace.close();
  // The first one is env(1).
  const own = programs.filter(({ process }) => process === 1)[1];
  if (own === undefined) throw new Error(`${program.name} did not run: ${ran.stderr}`);
  return { file, tree: treeOf(own, facts), debug: debugMessages(folder, own.pid) };
}

function assignments(program: ElfProgram, debug: Readonly<Record<string, string>>): string[] {
  return Object.entries({ ...program.env, ...debug }).map(([name, value]) => `${name}=${value}`);
}

function debugMessages(folder: string, pid: number): string {
  const name = readdirSync(folder).find((file) => file === `ld-debug.${pid}`);
  return name === undefined ? "" : readFileSync(join(folder, name), "utf8");
}

/** `needed /usr/bin/cat libc.so.6 0x7f...` for each file that the loader's messages tell of. */
export function saidByLoader(messages: string): string[] {
  const said: string[] = [];
  let open: string | undefined;
  for (const line of messages.split("\n")) {
    const asked = /file=(\S+) \[\d+\];\s+(needed|dynamically loaded) by (\S+) \[/.exec(line);
    if (asked !== null) {
      const [, name, how, by = ""] = asked;
      open = how === "needed" ? `needed ${real(by)} ${name}` : `dlopen ${base(name ?? "")}`;
    }
    const at = /dynamic: 0x\w+\s+base: (0x\w+)/.exec(line)?.[1];
    if (at === undefined || open === undefined) continue;
    said.push(`${open} ${hexText(BigInt(at))}`);
    open = undefined;
  }
  return said.sort();
}

/** The same of what `trace elf` found. */
export function saidByTrace({ images }: LoadedProgram): string[] {
  const said: string[] = [];
  for (const { image, cause, bias } of images) {
    const name = image.opened?.path ?? image.path;
    const at = hexText(bias ?? 0);
    if (cause.kind === "needed")
      said.push(`needed ${cause.by.path} ${needName(image.path, cause.by, images)} ${at}`);
    if (cause.kind === "dlopen") said.push(`dlopen ${base(name)} ${at}`);
    if (cause.kind === "preload") said.push(`preload ${name} ${at}`);
  }
  return said.sort();
}

/** The word by which the other file needs this one. */
function needName(path: string, by: unknown, images: LoadedProgram["images"]): string {
  const needing = images.find(({ image }) => image === by);
  const own = images.find(({ image }) => image.path === path);
  const names = [
    own?.facts?.soname,
    own?.image.opened?.path,
    base(own?.image.opened?.path ?? path),
  ];
  return needing?.facts?.needed.find((name) => names.includes(name)) ?? path;
}

function base(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** `libc.so.6 /usr/lib/...`, sorted, as ldd says it; the loader and the vDSO are left out. */
export function saidByLdd(program: string, env: Readonly<Record<string, string>>): string[] {
  const ran = spawnSync("ldd", [program], { env, encoding: "utf8" });
  const found = ran.stdout.split("\n").flatMap((line) => {
    const [, name, path] = /^\s*(\S+) => (\/\S+) \(/.exec(line) ?? [];
    const absolute = /^\s*(\/\S+) \(/.exec(line)?.[1];
    if (name !== undefined && path !== undefined) return [`${base(name)} ${real(path)}`];
    // Files that are needed by their path, and the loader.
    return absolute === undefined || absolute.includes("ld-")
      ? []
      : [`${base(absolute)} ${real(absolute)}`];
  });
  return found.sort();
}

/** What `trace elf` says of the same. */
export function startOf({ images }: LoadedProgram): string[] {
  const late = new Set<unknown>();
  const found: string[] = [];
  for (const { image, cause, facts } of images) {
    if (cause.kind === "dlopen" || (cause.kind === "needed" && late.has(cause.by))) late.add(image);
    else if (cause.kind === "needed" || cause.kind === "preload") {
      found.push(`${facts?.soname ?? base(image.opened?.path ?? "")} ${image.path}`);
    }
  }
  return found.sort();
}
