/** Files that several workloads work on. The same bytes in every run: sizes follow from a counter. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setUp } from "./workload.js";

const WORDS = "record every call of a process tree with the bytes that it read and wrote".split(
  " ",
);
const FILES_PER_FOLDER = 40;

/** A number from 0 to `below - 1` that looks random and is the same everywhere. */
export function scatter(k: number, below: number): number {
  return (Math.imul(k + 1, 2_654_435_761) >>> 8) % below;
}

/** Lines of plain words. */
export function text(k: number, lines: number): string {
  const line = (n: number): string =>
    Array.from(
      { length: 8 },
      (_, word) => WORDS[scatter(k * 97 + n * 8 + word, WORDS.length)],
    ).join(" ");
  return `${Array.from({ length: lines }, (_, n) => line(n)).join("\n")}\n`;
}

/** A tree of `files` small text files in folders, two levels deep. */
export function makeTree(root: string, files: number): void {
  for (let k = 0; k < files; k++) {
    const folder = Math.floor(k / FILES_PER_FOLDER);
    const dir = join(root, `part${folder % 16}`, `unit${folder}`);
    if (k % FILES_PER_FOLDER === 0) mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, `file${k}.txt`), text(k, 4 + scatter(k, 60)));
  }
}

/** A C function that gives an optimising compiler something to do. */
export function cFunction(name: string, k: number): string {
  return `
static double table_${name}[64];
double ${name}(const double *values, int count, int step)
{
	double sum = ${scatter(k, 90)};
	for (int i = 0; i < count; i++) {
		double value = values[i] * ${1 + scatter(k + 1, 9)} + table_${name}[(i * step) & 63];
		switch ((i + ${scatter(k + 2, 7)}) % 5) {
		case 0: sum += value; break;
		case 1: sum -= value * value; break;
		case 2: sum = sum > value ? sum - value : value - sum; break;
		case 3: for (int j = 0; j < step; j++) sum += values[j % count] / (j + 1); break;
		default: table_${name}[i & 63] = sum; break;
		}
	}
	return sum;
}
`;
}

/** Compiles a C program into the folder; returns its path. */
export function compile(dir: string, name: string, source: string): string {
  writeFileSync(join(dir, `${name}.c`), source);
  setUp(dir, ["gcc", "-O2", "-o", name, `${name}.c`]);
  return join(dir, name);
}
