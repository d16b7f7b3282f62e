/** What others than gdb say of a place in a file: addr2line -i (binutils), nm, and the bytes of the code. */

import { spawnSync } from "node:child_process";
import { type Frame, lastName, type OwnFrame, samePlace } from "./frames.js";

const UNKNOWN = "??";

/** The functions at each address of a file, the inlined ones first. */
export function addr2line(image: string, addresses: readonly bigint[]): Frame[][] {
  const words = ["-a", "-f", "-i", "-C", "-e", image];
  const input = addresses.map((address) => `0x${address.toString(16)}\n`).join("");
  const said = spawnSync("addr2line", words, { input, encoding: "utf8", maxBuffer: 1 << 30 });
  return parsePlaces(said.stdout);
}

/** The frames at each address of what `addr2line -a -f -i` prints. */
export function parsePlaces(text: string): Frame[][] {
  const stacks: Frame[][] = [];
  const lines = text.split("\n");
  for (let k = 0; k < lines.length - 1; k++) {
    const line = lines[k] ?? "";
    if (/^0x[0-9a-f]+$/.test(line)) {
      stacks.push([]);
      continue;
    }
    const [, file = UNKNOWN, number = "0"] =
      /^(.*):(\d+|\?)(?: \(discriminator \d+\))?$/.exec(lines[k + 1] ?? "") ?? [];
    k += 1;
    const isKnown = file !== UNKNOWN && number !== "0" && number !== "?";
    stacks.at(-1)?.push({
      function: line === UNKNOWN ? null : line,
      file: isKnown ? file : null,
      line: isKnown ? Number(number) : 0,
      kind: "plain",
    });
  }
  const kind = (k: number, frames: readonly Frame[]) =>
    k < frames.length - 1 ? "inlined" : "plain";
  return stacks.map((frames) => frames.map((frame, k) => ({ ...frame, kind: kind(k, frames) })));
}

/** What was said of the places of a file, by its path: files stay as they are for as long as programs are compared. */
const said = new Map<string, Map<bigint, readonly Frame[]>>();
/** The symbols of a file, by its path, with their addresses. */
const symbols = new Map<string, Map<string, Set<string>>>();
/** Disassembled code, by file and place. */
const disassembled = new Map<string, string>();

function known<K, V>(table: Map<K, V>, key: K, make: () => V): V {
  let value = table.get(key);
  if (value === undefined) {
    value = make();
    table.set(key, value);
  }
  return value;
}

export class Opinions {
  /** The frames at the place of each frame, and which of them it is. */
  readonly #depths: ReadonlyMap<OwnFrame, number>;
  /** By file, all places that something may be asked about: the tools take long to open one, and no time for a place. */
  readonly #places: ReadonlyMap<string, ReadonlySet<bigint>>;

  /** `stacks`: all stacks of a trace, about whose frames something may be asked. */
  constructor(stacks: Iterable<readonly OwnFrame[]>) {
    const depths = new Map<OwnFrame, number>();
    const places = new Map<string, Set<bigint>>();
    for (const frames of stacks) {
      frames.forEach((frame, k) => {
        let start = k;
        while (start > 0 && frames[start - 1]?.kind === "inlined") start -= 1;
        depths.set(frame, k - start);
        if (frame.image !== undefined)
          known(places, frame.image, () => new Set()).add(frame.lookup);
      });
    }
    this.#depths = depths;
    this.#places = places;
  }

  /** What addr2line says of the place of a frame, as far from the innermost function there. */
  says(frame: OwnFrame): Frame | undefined {
    if (frame.image === undefined) return undefined;
    const ofFile = known(said, frame.image, () => new Map());
    if (!ofFile.has(frame.lookup)) {
      const all = new Set(this.#places.get(frame.image)).add(frame.lookup);
      const unknown = [...all].filter((place) => !ofFile.has(place));
      const answers = addr2line(frame.image, unknown);
      unknown.forEach((place, k) => {
        ofFile.set(place, answers[k] ?? []);
      });
    }
    return ofFile.get(frame.lookup)?.[this.#depths.get(frame) ?? 0];
  }

  /** Whether addr2line says the same of a frame as the trace. */
  agree(frame: OwnFrame): boolean {
    if (frame.kind === "trampoline") return this.#returns(frame);
    const said = this.says(frame);
    if (said === undefined || said.kind !== frame.kind || !samePlace(said, frame)) return false;
    // It names the function in front where none covers the place.
    if (frame.function === null && said.file === null) return true;
    const isSame = lastName(said.function ?? "?") === lastName(frame.function ?? "?");
    return isSame || this.areAliases(said, frame);
  }

  /** Whether both names are symbols of the same address. */
  areAliases(one: Frame, other: OwnFrame): boolean {
    if (other.image === undefined || one.function === null || other.function === null) return false;
    const addresses = symbolsOf(other.image);
    const [first, second] = [one.function, other.function].map((name) =>
      addresses.get(name.replace(/@.*/, "")),
    );
    return (
      first !== undefined &&
      second !== undefined &&
      [...first].some((address) => second.has(address))
    );
  }

  /** Whether the frame stands at `int $0x80`, or behind it. */
  entersKernel(frame: OwnFrame): boolean {
    return /int\s+\$0x80/.test(codeAround(frame, 2n));
  }

  /** Whether the frame stands in code that returns from a signal: numbers of the calls in asm/unistd_64.h, unistd_32.h. */
  #returns(frame: OwnFrame): boolean {
    return /mov\s+\$0x(?:f|ad|77),%[er]ax/.test(codeAround(frame, 9n));
  }
}

function symbolsOf(image: string): ReadonlyMap<string, ReadonlySet<string>> {
  return known(symbols, image, () => {
    const found = new Map<string, Set<string>>();
    for (const table of [["-a"], ["-D"]]) {
      const { stdout } = spawnSync("nm", ["-C", ...table, image], {
        encoding: "utf8",
        maxBuffer: 1 << 30,
      });
      for (const line of stdout.split("\n")) {
        const [, address, name] = /^([0-9a-f]+) \S (.+?)(?:@.*)?$/.exec(line) ?? [];
        if (address === undefined || name === undefined) continue;
        known(found, name, () => new Set()).add(address);
      }
    }
    return found;
  });
}

/** So many bytes of code on both sides of a place, disassembled. */
function codeAround({ image, lookup }: OwnFrame, bytes: bigint): string {
  if (image === undefined) return "";
  return known(disassembled, `${image} ${lookup} ${bytes}`, () => {
    let text = "";
    // The length of the instructions in front is not known.
    for (const start of [lookup - bytes, lookup - bytes + 2n, lookup]) {
      const range = [`--start-address=${start}`, `--stop-address=${lookup + bytes}`];
      text += spawnSync("objdump", ["-d", "--no-show-raw-insn", ...range, image], {
        encoding: "utf8",
      }).stdout;
    }
    return text;
  });
}
