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

function comparePlacesOf(name: string, image: string, program: string, debug?: string): Places {
  const addresses = sampled(image, SAMPLES);
  const theirs = addr2line(debug ?? image, addresses);
  const own = engineSays(program, image, addresses);
  const symbols = new Aliases(image);
  const classes: Record<string, number> = {};
  const differences: string[] = [];
  let equal = 0;
  addresses.forEach((address, k) => {
    const [one = [], other = []] = [theirs[k], own[k]];
    let why: string | undefined = reason(one, other);
    if (why === undefined) equal += 1;
    else if (why === "" && symbols.areSame(one, other)) why = "alias";
    if (why === undefined) return;
    if (why !== "") classes[why] = (classes[why] ?? 0) + 1;
    else
      differences.push(`0x${address.toString(16)}: addr2line ${shown(one)}, trace ${shown(other)}`);
  });
  return { name, all: SAMPLES, same: equal, classes, differences };
}

/** Names of symbols by the address they stand at. */
class Aliases {
  readonly #at = new Map<string, Set<string>>();

  constructor(image: string) {
    for (const table of ["-a", "-D"]) {
      const { stdout } = spawnSync("nm", ["-C", table, image], {
        encoding: "utf8",
        maxBuffer: 1 << 30,
      });
      for (const line of stdout.split("\n")) {
        const [, address, name] = /^([0-9a-f]+) \S (.+?)(?:@.*)?$/.exec(line) ?? [];
        if (address === undefined || name === undefined) continue;
        const plain = plainName(name);
        this.#at.set(plain, (this.#at.get(plain) ?? new Set()).add(address));
      }
    }
  }

  /** Whether all but the outermost functions are the same, and that one is two symbols of one address. */
  areSame(theirs: readonly Frame[], own: readonly Frame[]): boolean {
    const [one, other] = [theirs.at(-1), own.at(-1)];
    if (
      one === undefined ||
      other === undefined ||
      theirs.length !== own.length ||
      !samePlace(one, other)
    )
      return false;
    if (!theirs.slice(0, -1).every((frame, k) => same(frame, own[k] ?? frame))) return false;
    const [first, second] = [one, other].map((frame) =>
      this.#at.get(plainName(frame.function ?? "?")),
    );
    return (
      first !== undefined &&
      second !== undefined &&
      [...first].some((address) => second.has(address))
    );
  }
}

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
