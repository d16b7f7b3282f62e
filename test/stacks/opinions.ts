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

export class Opinions {
  readonly #said = new Map<string, readonly Frame[]>();
  readonly #symbols = new Map<string, Map<string, Set<string>>>();
  /** The frames at the place of each frame, and which of them it is. */
  readonly #depths: ReadonlyMap<OwnFrame, number>;

  /** `stacks`: all stacks of a trace, about whose frames something may be asked. */
  constructor(stacks: Iterable<readonly OwnFrame[]>) {
    const depths = new Map<OwnFrame, number>();
    for (const frames of stacks) {
      frames.forEach((frame, k) => {
        let start = k;
        while (start > 0 && frames[start - 1]?.kind === "inlined") start -= 1;
        depths.set(frame, k - start);
      });
    }
    this.#depths = depths;
  }

  /** What addr2line says of the place of a frame, as far from the innermost function there. */
  says(frame: OwnFrame): Frame | undefined {
    if (frame.image === undefined) return undefined;
    const key = `${frame.image} ${frame.lookup}`;
    let said = this.#said.get(key);
    if (said === undefined) {
      said = addr2line(frame.image, [frame.lookup])[0] ?? [];
      this.#said.set(key, said);
    }
    return said[this.#depths.get(frame) ?? 0];
  }

  /** Whether addr2line says the same of a frame as the trace. */
  agree(frame: OwnFrame): boolean {
    const said = this.says(frame);
    if (said === undefined || said.kind !== frame.kind || !samePlace(said, frame)) return false;
    return lastName(said.function ?? "?") === lastName(frame.function ?? "?");
  }

  /** Whether both names are symbols of the same address. */
  areAliases(one: Frame, other: OwnFrame): boolean {
    if (other.image === undefined || one.function === null || other.function === null) return false;
    const addresses = this.#symbolsOf(other.image);
    const [first, second] = [one.function, other.function].map((name) =>
      addresses.get(name.replace(/@.*/, "")),
    );
    return (
      first !== undefined &&
      second !== undefined &&
      [...first].some((address) => second.has(address))
    );
  }

  #symbolsOf(image: string): Map<string, Set<string>> {
    let known = this.#symbols.get(image);
    if (known === undefined) {
      known = new Map();
      for (const table of [["-a"], ["-D"]]) {
        const { stdout } = spawnSync("nm", ["-C", ...table, image], {
          encoding: "utf8",
          maxBuffer: 1 << 30,
        });
        for (const line of stdout.split("\n")) {
          const [, address, name] = /^([0-9a-f]+) \S (.+?)(?:@.*)?$/.exec(line) ?? [];
          if (address === undefined || name === undefined) continue;
          known.set(name, (known.get(name) ?? new Set()).add(address));
        }
      }
      this.#symbols.set(image, known);
    }
    return known;
  }

  /** Whether the frame stands at `int $0x80`, or behind it. */
  entersKernel(frame: OwnFrame): boolean {
    if (frame.image === undefined) return false;
    const words = [
      "-d",
      "--no-show-raw-insn",
      `--start-address=${frame.lookup - 2n}`,
      `--stop-address=${frame.lookup + 2n}`,
    ];
    const { stdout } = spawnSync("objdump", [...words, frame.image], { encoding: "utf8" });
    return /int\s+\$0x80/.test(stdout);
  }
}
