/**
 * Functions and lines at sampled addresses, as the engine and as addr2line(1) find them: of libc with its debug symbols, of node, of
 * a Rust program and a C++ program with debug information.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Frame, lastName, plainName, sameName, samePlace } from "./frames.js";
import { addr2line, parsePlaces } from "./opinions.js";

const SAMPLES = 10_000;
const SEED = 20_000;

/** Known reasons for places that are not the same. */
export const PLACE_CLASSES = {
  statement:
    "both see the same functions, and rows of the line table at one address, of which they take different ones",
  alias: "several symbols stand at one address, and they take different ones",
  scope: "the same function: one of them has the name without its scopes",
  outside:
    "no function covers the address, by nm: addr2line names the one in front, the trace none",
  label: "the nearest symbol in front has no length: by nm it is the one that the trace names",
} as const;

export interface Places {
  readonly name: string;
  readonly all: number;
  readonly same: number;
  readonly classes: Readonly<Record<string, number>>;
  readonly differences: readonly string[];
}

const native = fileURLToPath(new URL("../../native", import.meta.url));

/** The program native/engine/examples/places.rs, built when it has to be. */
export function placesProgram(): string {
  const words = ["build", "--release", "-q", "-p", "trace-engine", "--example", "places"];
  execFileSync("cargo", words, { cwd: native, stdio: "inherit" });
  return join(process.env.CARGO_TARGET_DIR ?? join(native, "target"), "release/examples/places");
}

/** The same numbers each time (a linear congruential generator, Numerical Recipes). */
function* random(): Generator<number> {
  let state = SEED;
  for (;;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** Addresses in the code of a file, by its section headers. */
export function sampled(image: string, count: number): bigint[] {
  const { stdout } = spawnSync("readelf", ["-SW", image], { encoding: "utf8" });
  const text = /\] \.text\s+PROGBITS\s+([0-9a-f]+) [0-9a-f]+ ([0-9a-f]+)/.exec(stdout);
  if (text === null) throw new Error(`${image} has no section .text`);
  const [start, size] = [BigInt(`0x${text[1]}`), Number.parseInt(text[2] ?? "0", 16)];
  const numbers = random();
  return Array.from(
    { length: count },
    () => start + BigInt(Math.floor((numbers.next().value ?? 0) * size)),
  );
}

function engineSays(program: string, image: string, addresses: readonly bigint[]): Frame[][] {
  const input = addresses.map((address) => `${address.toString(16)}\n`).join("");
  const said = spawnSync(program, [image], { input, encoding: "utf8", maxBuffer: 1 << 30 });
  if (said.status !== 0) throw new Error(said.stderr);
  return parsePlaces(said.stdout);
}

function same(one: Frame, other: Frame): boolean {
  return sameName(one, other) && samePlace(one, other);
}

/** Why two lists of frames differ; undefined when they are the same, and "" when it is not known. */
function reason(
  theirs: readonly Frame[],
  own: readonly Frame[],
): keyof typeof PLACE_CLASSES | "" | undefined {
  if (theirs.length !== own.length) return "";
  const pairs = theirs
    .map((frame, k) => [frame, own[k] ?? frame] as const)
    .filter(([one, other]) => !same(one, other));
  if (pairs.length === 0) return undefined;
  if (
    pairs.every(([one, other]) => sameName(one, other) && one.file !== null && other.file !== null)
  )
    return "statement";
  const isScope = ([one, other]: readonly [Frame, Frame]) =>
    lastName(one.function ?? "?") === lastName(other.function ?? "!");
  if (pairs.every(([one, other]) => samePlace(one, other) && isScope([one, other]))) return "scope";
  return "";
}

function shown(frames: readonly Frame[]): string {
  return frames
    .map(({ function: name, file, line }) => `${plainName(name ?? "?")} ${file ?? "?"}:${line}`)
    .join(" < ");
}

function comparePlacesOf(name: string, image: string, program: string): Places {
  const addresses = sampled(image, SAMPLES);
  const theirs = addr2line(image, addresses);
  const own = engineSays(program, image, addresses);
  const symbols = new Symbols(image);
  const classes: Record<string, number> = {};
  const differences: string[] = [];
  let equal = 0;
  addresses.forEach((address, k) => {
    const [one = [], other = []] = [theirs[k], own[k]];
    const known = reason(one, other);
    const why = known === "" ? (symbols.reason(address, one, other) ?? "") : known;
    if (why === undefined) equal += 1;
    else if (why !== "") classes[why] = (classes[why] ?? 0) + 1;
    else
      differences.push(`0x${address.toString(16)}: addr2line ${shown(one)}, trace ${shown(other)}`);
  });
  return { name, all: SAMPLES, same: equal, classes, differences };
}

/** The file with the symbols of another, by its build id. */
function symbolFile(image: string): string {
  const { stdout } = spawnSync("readelf", ["-n", image], { encoding: "utf8" });
  const id = /Build ID: ([0-9a-f]+)/.exec(stdout)?.[1] ?? "";
  const debug = `/usr/lib/debug/.build-id/${id.slice(0, 2)}/${id.slice(2)}.debug`;
  return existsSync(debug) ? debug : image;
}

interface Extent {
  readonly start: bigint;
  readonly end: bigint;
  readonly name: string;
}

/** The functions of a file as nm lists them. */
class Symbols {
  readonly #extents: Extent[] = [];
  readonly #at = new Map<string, Set<bigint>>();

  constructor(image: string) {
    for (const words of [
      ["-S", "-C", symbolFile(image)],
      ["-S", "-C", "-D", image],
    ]) {
      const { stdout } = spawnSync("nm", words, { encoding: "utf8", maxBuffer: 1 << 30 });
      for (const line of stdout.split("\n")) {
        const [, address, size = "0", text] =
          /^([0-9a-f]+)(?: ([0-9a-f]+))? [TtWwiVuN] (.+?)(?:@.*)?$/.exec(line) ?? [];
        if (address === undefined || text === undefined) continue;
        const [start, name] = [BigInt(`0x${address}`), plainName(text)];
        this.#extents.push({ start, end: start + BigInt(`0x${size}`), name });
        this.#at.set(name, (this.#at.get(name) ?? new Set()).add(start));
      }
    }
    this.#extents.sort((one, other) =>
      one.start < other.start ? -1 : Number(one.start > other.start),
    );
  }

  /** A reason that symbols give for two lists of frames that differ in the outermost function alone. */
  reason(
    address: bigint,
    theirs: readonly Frame[],
    own: readonly Frame[],
  ): keyof typeof PLACE_CLASSES | undefined {
    const [one, other] = [theirs.at(-1), own.at(-1)];
    if (one === undefined || other === undefined || theirs.length !== own.length) return undefined;
    if (!theirs.slice(0, -1).every((frame, k) => same(frame, own[k] ?? frame))) return undefined;
    const near = this.#extents.filter(({ start }) => start <= address && address - start < NEAR);
    if (other.function === null)
      return near.some(({ end }) => address < end) ? undefined : "outside";
    if (!samePlace(one, other)) return undefined;
    const [first, second] = [one, other].map((frame) =>
      this.#at.get(plainName(frame.function ?? "?")),
    );
    if (
      first !== undefined &&
      second !== undefined &&
      [...first].some((place) => second.has(place))
    )
      return "alias";
    const nearest = near.at(-1)?.start;
    const isNearest = near.some(
      ({ start, name }) => start === nearest && name === plainName(other.function ?? "?"),
    );
    return isNearest && !near.some(({ end }) => address < end) ? "label" : undefined;
  }
}

/** Longest function. */
const NEAR = 1n << 20n;

/** Compares 10,000 addresses of each of the files that there are. */
export async function comparePlaces(folder: string): Promise<Places[]> {
  const program = placesProgram();
  const found: Places[] = [];
  const add = (name: string, image: string) => {
    const places = comparePlacesOf(name, image, program);
    found.push(places);
    for (const difference of places.differences.slice(0, 4))
      process.stdout.write(`    ${difference}\n`);
  };
  const libc = "/lib/x86_64-linux-gnu/libc.so.6";
  if (existsSync(libc)) add("libc", realpathSync(libc));
  add("node", realpathSync(process.execPath));
  const sources = fileURLToPath(new URL("./programs/", import.meta.url));
  const rust = join(folder, "places-rust");
  const words = ["--edition=2021", "-O", "-g", "-o", rust, join(sources, "panics.rs")];
  if (spawnSync("rustc", words).status === 0) add("rust", rust);
  const library = join(folder, "places-c++");
  if (
    spawnSync("g++", [
      "-O2",
      "-g",
      "-static",
      "-pthread",
      "-o",
      library,
      join(sources, "library.cpp"),
    ]).status === 0
  ) {
    add("c++", library);
  }
  return found;
}
