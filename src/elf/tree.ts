/**
 * What loaded what: for each image of a program its cause, by what the files say they need and by the calls that found them.
 * It is the order in which ld.so works (ld.so(8)): a name is looked for once, for the first file that needs it.
 */

import { posix } from "node:path";
import type { Num } from "../decode/value.js";
import { baseName } from "../report/path.js";
import type { ElfFacts, FactsByHash } from "./facts.js";
import type { Image, Loaded } from "./images.js";

export type Cause =
  | { readonly kind: "program" | "interpreter" | "kernel" | "argument" | "mapped" | "unknown" }
  | { readonly kind: "preload"; readonly by: "LD_PRELOAD" | "/etc/ld.so.preload" }
  | { readonly kind: "needed"; readonly by: Image }
  /** The program asked for it while it ran; the event is the first call of the search. */
  | { readonly kind: "dlopen"; readonly seq: number };

/** Where the loader found a file, when that can be told. */
export type Found =
  | { readonly by: "RUNPATH" | "RPATH"; readonly of: string; readonly entry: string }
  | { readonly by: "LD_LIBRARY_PATH"; readonly entry: string }
  | { readonly by: "ld.so.cache" };

export interface LoadedImage {
  readonly image: Image;
  readonly facts: ElfFacts | undefined;
  readonly cause: Cause;
  readonly found: Found | undefined;
  /** What is added to the addresses in the file; undefined when the content is not at hand. */
  readonly bias: Num | undefined;
  /** Those that it caused, in their order. */
  readonly children: readonly LoadedImage[];
}

export interface LoadedProgram {
  readonly loaded: Loaded;
  /** All images that are its own, in the order in which they came. */
  readonly images: readonly LoadedImage[];
  /** Those that no other caused. */
  readonly roots: readonly LoadedImage[];
}

type Draft = { -readonly [K in keyof LoadedImage]: LoadedImage[K] } & { children: LoadedImage[] };

export function treeOf(loaded: Loaded, facts: FactsByHash): LoadedProgram {
  const drafts: Draft[] = [];
  const byImage = new Map<Image, Draft>();
  for (const image of loaded.images) {
    const own = facts.get(image.hash);
    const cause = causeOf(loaded, drafts, image, own);
    const requester = cause.kind === "needed" ? byImage.get(cause.by) : undefined;
    const draft: Draft = {
      image,
      facts: own,
      cause,
      found: foundBy(loaded, image, cause, chainOf(requester, byImage)),
      bias: biasOf(image, own),
      children: [],
    };
    requester?.children.push(draft);
    drafts.push(draft);
    byImage.set(image, draft);
  }
  const images = drafts.slice(loaded.inherited);
  return { loaded, images, roots: images.filter(({ cause }) => cause.kind !== "needed") };
}

/** The names by which something may need the file. */
function namesOf(image: Image, facts: ElfFacts | undefined): Set<string> {
  const asked = image.opened?.path ?? image.path;
  const names = new Set([asked, baseName(asked)]);
  if (facts?.soname !== undefined) names.add(facts.soname);
  return names;
}

function causeOf(
  loaded: Loaded,
  before: readonly Draft[],
  image: Image,
  facts: ElfFacts | undefined,
): Cause {
  if (image.path.startsWith("[")) return { kind: "kernel" };
  if (image.initial) {
    const isProgram = !before.some(({ cause }) => cause.kind === "program");
    return { kind: isProgram ? "program" : "interpreter" };
  }
  const names = namesOf(image, facts);
  if (asksFor(preloads(loaded), names)) return { kind: "preload", by: "LD_PRELOAD" };
  const there = (other: Image) => other.unloaded === undefined || other.unloaded > image.seq;
  const needing = before.find(
    ({ image: other, facts: has }) =>
      there(other) && has?.needed.some((name) => names.has(name)) === true,
  );
  if (needing !== undefined) return { kind: "needed", by: needing.image };
  return causeOfOther(loaded, before, image, facts);
}

/** The cause of what no other file needs. */
function causeOfOther(
  loaded: Loaded,
  before: readonly Draft[],
  image: Image,
  facts: ElfFacts | undefined,
): Cause {
  const program = before.find(({ cause }) => cause.kind === "program");
  const isLoader = program?.facts !== undefined && program.facts.interpreter === undefined;
  const opened = image.opened?.path ?? "";
  if (isLoader && loaded.argv.includes(opened)) return { kind: "argument" };
  if (facts === undefined && image.hash !== "" && !isLibraryName(image.path)) {
    return { kind: "mapped" };
  }
  // Without the content of the files one cannot say whether one of them needs it.
  const unknown = before.some(
    ({ image: other, facts: has }) => has === undefined && !other.path.startsWith("["),
  );
  if (unknown) return { kind: "unknown" };
  if (facts === undefined) return { kind: "mapped" };
  return { kind: "dlopen", seq: image.probes[0]?.seq ?? image.opened?.seq ?? image.seq };
}

function isLibraryName(path: string): boolean {
  return /\.so(?:\.|$)/.test(path);
}

function variable(loaded: Loaded, name: string): string {
  const found = loaded.env.find((entry) => entry.startsWith(`${name}=`));
  return found?.slice(name.length + 1) ?? "";
}

function preloads(loaded: Loaded): string[] {
  return variable(loaded, "LD_PRELOAD")
    .split(/[: ]+/)
    .filter((word) => word !== "");
}

function asksFor(words: readonly string[], names: ReadonlySet<string>): boolean {
  return words.some((word) => names.has(word) || names.has(posix.normalize(word)));
}

/** The file that needs it, and those because of which that was loaded, up to the program. */
function chainOf(requester: Draft | undefined, byImage: ReadonlyMap<Image, Draft>): Draft[] {
  const chain: Draft[] = [];
  for (let at = requester; at !== undefined && !chain.includes(at); ) {
    chain.push(at);
    at = at.cause.kind === "needed" ? byImage.get(at.cause.by) : undefined;
  }
  return chain;
}

/** The directory of a search path that holds the file, written as the path has it. */
function entryOf(path: string, list: string | undefined, origins: readonly string[]) {
  const folder = posix.dirname(posix.normalize(path));
  for (const entry of (list ?? "").split(/[:;]/)) {
    if (entry === "") continue;
    for (const origin of origins) {
      const expanded = posix.normalize(entry.replaceAll(/\$\{ORIGIN\}|\$ORIGIN/g, origin));
      const plain = expanded.replace(/(?<=.)\/$/, "");
      if (folder === plain || folder.startsWith(`${plain}/glibc-hwcaps/`)) return entry;
    }
  }
  return undefined;
}

function originsOf({ image }: LoadedImage): string[] {
  const paths = [image.path, image.opened?.path ?? image.path];
  return [...new Set(paths.map((path) => posix.dirname(posix.normalize(path))))];
}

function foundBy(
  loaded: Loaded,
  image: Image,
  cause: Cause,
  chain: readonly LoadedImage[],
): Found | undefined {
  const path = image.opened?.path;
  if (path === undefined || cause.kind === "kernel") return undefined;
  const [requester] = chain;
  if (requester?.facts?.runpath === undefined) {
    for (const one of chain) {
      const entry = entryOf(path, one.facts?.rpath, originsOf(one));
      if (entry !== undefined) return { by: "RPATH", of: one.image.path, entry };
    }
  }
  const told = entryOf(path, variable(loaded, "LD_LIBRARY_PATH"), [""]);
  if (told !== undefined) return { by: "LD_LIBRARY_PATH", entry: told };
  if (requester !== undefined) {
    const entry = entryOf(path, requester.facts?.runpath, originsOf(requester));
    if (entry !== undefined) return { by: "RUNPATH", of: requester.image.path, entry };
  }
  // What a program asks for by its path is looked for nowhere.
  const byName = cause.kind === "needed" && path !== baseName(path);
  return byName && loaded.usedCache ? { by: "ld.so.cache" } : undefined;
}

/** Address of the first mapping minus that which the file has for the same place. */
function biasOf(image: Image, facts: ElfFacts | undefined): Num | undefined {
  const mapping = image.mappings[0];
  if (facts === undefined || mapping === undefined) return undefined;
  const page = 4096;
  const segment = facts.segments.find(({ kind, prot, offset, fileSize }) => {
    const start = offset - (offset % page);
    const inside = mapping.offset >= start && mapping.offset < offset + fileSize;
    return kind === "LOAD" && (prot & 4) !== 0 && inside;
  });
  if (segment === undefined) return undefined;
  const place = segment.address - BigInt(segment.offset) + BigInt(mapping.offset);
  const bias = BigInt.asUintN(64, BigInt(mapping.address) - place);
  return bias <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(bias) : bias;
}
