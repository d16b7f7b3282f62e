/** What was loaded, as text and as JSON. */

import type { Painter } from "../report/color.js";
import { baseName } from "../report/path.js";
import { printable } from "../report/text.js";
import { counted, humanBytes } from "../report/units.js";
import { hexText } from "../show/notation.js";
import { processName } from "../trace/process.js";
import { shellCommand } from "../tree/shell.js";
import type { ElfFacts } from "./facts.js";
import type { Probe } from "./images.js";
import type { Cause, Found, LoadedImage, LoadedProgram } from "./tree.js";

export interface ElfRenderOptions {
  readonly paint: Painter;
  /** Segments, hardening, needed versions too. */
  readonly verbose: boolean;
}

/** Failed searches that are listed of one image without `verbose`. */
const PROBES_SHOWN = 3;

export function* programLines(
  program: LoadedProgram,
  options: ElfRenderOptions,
): Generator<string> {
  const { paint } = options;
  const { loaded, roots } = program;
  const words = printable(shellCommand(loaded.argv.length > 0 ? loaded.argv : [loaded.path]));
  const what = loaded.forked ? `(${words})` : words;
  const head = `${paint("cyan", processName(loaded.process))} ${what}`;
  yield `${head}  ${paint("dim", `[${loaded.pid}]${loaded.seq > 0 ? ` @${loaded.seq}` : ""}`)}\n`;
  const rest = generatedText(program);
  // The same page of the kernel is in every process.
  const shown = roots.filter(({ image }) => image.path !== "[vsyscall]");
  for (const [k, root] of shown.entries()) {
    yield* imageLines(root, "", k === shown.length - 1 && rest === undefined, options);
  }
  if (rest !== undefined) yield `${paint("dim", "└─ ")}${rest}\n`;
}

function generatedText({ loaded }: LoadedProgram): string | undefined {
  const { regions, bytes, perfMap } = loaded.generated;
  if (regions === 0) return undefined;
  const named = perfMap === undefined ? "" : `, named in ${perfMap}`;
  return `${counted(regions, "region")} of code without a file, ${humanBytes(bytes)}${named}`;
}

function* imageLines(
  root: LoadedImage,
  start: string,
  last: boolean,
  options: ElfRenderOptions,
): Generator<string> {
  // A list in place of recursion: files may need each other in a long chain.
  const open: { image: LoadedImage; before: string; isLast: boolean }[] = [
    { image: root, before: start, isLast: last },
  ];
  for (let step = open.pop(); step !== undefined; step = open.pop()) {
    const { image, before, isLast } = step;
    const below = `${before}${isLast ? "   " : "│  "}`;
    const { paint } = options;
    yield `${paint("dim", `${before}${isLast ? "└─ " : "├─ "}`)}${imageText(image, options)}\n`;
    const stem = image.children.length > 0 ? "│  " : "   ";
    for (const line of detailLines(image, options)) {
      yield `${paint("dim", `${below}${stem}`)}${line}\n`;
    }
    const { children } = image;
    for (let k = children.length - 1; k >= 0; k--) {
      const child = children[k];
      if (child === undefined) continue;
      open.push({ image: child, before: below, isLast: k === children.length - 1 });
    }
  }
}

/** `libz.so.1 => /opt/lib/libz.so.1 (0x7f12...)  RUNPATH $ORIGIN/../lib, no debug information`. */
function imageText(own: LoadedImage, options: ElfRenderOptions): string {
  const { paint } = options;
  const { image, facts, bias } = own;
  const name = facts?.soname ?? baseName(image.opened?.path ?? image.path);
  const isNamed = image.path === name || own.cause.kind === "program";
  const path = isNamed ? image.path : `${name} => ${image.path}`;
  const mapped = image.mappings[0];
  const base = bias ?? mapped?.address ?? 0;
  const notes = [causeText(own.cause), foundText(own.found), ...factTexts(own, options)];
  const said = notes.filter((note) => note !== "").join(", ");
  return `${printable(path)} (${hexText(base)})${said === "" ? "" : `  ${paint("dim", printable(said))}`}`;
}

export function causeText(cause: Cause): string {
  switch (cause.kind) {
    case "preload":
      return `preloaded by ${cause.by}`;
    case "dlopen":
      return `dlopen at @${cause.seq}`;
    case "needed":
    case "program":
      return "";
    case "kernel":
      return "of the kernel";
    case "argument":
      return "named on the command line";
    case "unknown":
      return "nobody is known to need it";
    default:
      return cause.kind;
  }
}

function foundText(found: Found | undefined): string {
  if (found === undefined) return "";
  switch (found.by) {
    case "RPATH":
    case "RUNPATH":
      return `${found.by} ${found.entry}${found.by === "RPATH" ? ` of ${baseName(found.of)}` : ""}`;
    case "LD_LIBRARY_PATH":
      return `LD_LIBRARY_PATH ${found.entry}`;
    case "ld.so.cache":
      return "";
  }
}

function factTexts({ image, facts }: LoadedImage, { verbose }: ElfRenderOptions): string[] {
  const gone = image.unloaded === undefined ? [] : [`unloaded at @${image.unloaded}`];
  if (facts === undefined) {
    return image.path.startsWith("[") ? gone : [...gone, "content not at hand"];
  }
  const stack = facts.hardening.executableStack ? ["executable stack"] : [];
  const debug =
    verbose && facts.debugFile !== undefined
      ? `debug information in ${facts.debugFile}`
      : debugText(facts);
  return [...gone, ...stack, debug, ...(verbose ? [idText(image.buildId)] : [])];
}

function idText(buildId: string): string {
  return buildId === "" ? "no build id" : `build id ${buildId}`;
}

/** What a stack can say of code of the file. */
export function debugText({ debug, debugFile }: ElfFacts): string {
  if (debugFile !== undefined) return "debug information in a file of its own";
  if (debug.info) return debug.split ? "debug information in .dwo files" : "debug information";
  if (debug.symbols || debug.mini) return "no debug information, but names";
  return "no debug information";
}

function* detailLines(own: LoadedImage, { paint, verbose }: ElfRenderOptions): Generator<string> {
  const { probes } = own.image;
  const shown = verbose ? probes : probes.slice(0, PROBES_SHOWN);
  for (const probe of shown)
    yield paint("dim", `not ${printable(probe.path)} (${probeText(probe)})`);
  const more = probes.length - shown.length;
  if (more > 0) yield paint("dim", `nor in ${more} more places (-v shows them)`);
  const { facts } = own;
  if (!verbose || facts === undefined) return;
  yield paint("dim", hardeningText(facts));
  for (const [label, text] of [
    ["interpreter", facts.interpreter],
    ["RPATH", facts.rpath],
    ["RUNPATH", facts.runpath],
    ["needs", facts.needed.join(" ") || undefined],
  ]) {
    if (text !== undefined) yield paint("dim", `${label} ${printable(text)}`);
  }
  for (const { file, versions } of facts.versions) {
    yield paint("dim", `versions of ${printable(file)}: ${printable(versions.join(" "))}`);
  }
  for (const { kind, address, size, prot } of facts.segments) {
    if (kind !== "LOAD" && kind !== "GNU_RELRO") continue;
    const bytes = humanBytes(Number(size));
    yield paint("dim", `${kind.padEnd(9)} ${protText(prot)} ${hexText(address)} ${bytes}`);
  }
}

function probeText({ error, seq }: Probe): string {
  return `${error} @${seq}`;
}

export function protText(prot: number): string {
  return ["r", "w", "x"].map((letter, k) => ((prot & (1 << k)) !== 0 ? letter : "-")).join("");
}

/** `PIE, full RELRO, BIND_NOW, IBT, stack protector`. */
export function hardeningText({ kind, hardening }: ElfFacts): string {
  const { relro, bindNow, ibt, shadowStack, stackProtector, fortified } = hardening;
  const parts = [
    kind === "pie" ? "PIE" : kind === "executable" ? "not PIE" : "",
    `${relro === "none" ? "no" : relro} RELRO`,
    bindNow ? "BIND_NOW" : "",
    ibt ? "IBT" : "",
    shadowStack ? "shadow stack" : "",
    stackProtector ? "stack protector" : "",
    fortified ? "FORTIFY" : "",
    hardening.executableStack ? "executable stack" : "",
  ];
  return parts.filter((part) => part !== "").join(", ");
}

/** Files without debug information, each once. */
export function missingDebugText(programs: readonly LoadedProgram[]): string {
  const found = new Map<string, string>();
  for (const { images } of programs) {
    for (const { image, facts } of images) {
      if (facts === undefined || facts.debug.info || facts.debugFile !== undefined) continue;
      const names =
        facts.debug.symbols || facts.debug.mini ? "names of functions only" : "no names";
      const link = facts.debug.link === undefined ? "" : `, debug link ${facts.debug.link}`;
      found.set(image.hash, `${image.path}  ${idText(image.buildId)}, ${names}${link}`);
    }
  }
  return [...found.values()].map((line) => `${printable(line)}\n`).join("");
}

function causeJson(cause: Cause) {
  if (cause.kind === "needed") return { kind: cause.kind, by: cause.by.path };
  return cause;
}

function imageJson({ image, facts, cause, found, bias }: LoadedImage) {
  return {
    path: image.path,
    name: facts?.soname ?? baseName(image.opened?.path ?? image.path),
    event: image.seq,
    cause: causeJson(cause),
    opened: image.opened ?? null,
    found: found ?? null,
    probes: image.probes,
    unloaded: image.unloaded ?? null,
    hash: image.hash === "" ? null : image.hash,
    buildId: image.buildId === "" ? null : image.buildId,
    bias: bias === undefined ? null : hexText(bias),
    code: image.mappings.map(({ seq, address, length, offset }) => ({
      event: seq,
      address: hexText(address),
      length: Number(length),
      offset,
    })),
    elf: facts === undefined ? null : factsJson(facts),
  };
}

function factsJson(facts: ElfFacts) {
  const { segments, entry, ...rest } = facts;
  return {
    ...rest,
    entry: hexText(entry),
    segments: segments.map((segment) => ({
      ...segment,
      address: hexText(segment.address),
      size: Number(segment.size),
      prot: protText(segment.prot),
    })),
  };
}

export function elfJson(programs: readonly LoadedProgram[]): string {
  const list = programs.map(({ loaded, images }) => ({
    process: processName(loaded.process),
    pid: loaded.pid,
    event: loaded.seq,
    path: loaded.path,
    argv: loaded.argv,
    forked: loaded.forked,
    images: images.map(imageJson),
    generated: { ...loaded.generated, perfMap: loaded.generated.perfMap ?? null },
  }));
  return `${JSON.stringify({ schema: "trace.elf", version: 1, programs: list }, undefined, 2)}\n`;
}
