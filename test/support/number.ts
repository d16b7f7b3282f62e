/** Syscall numbers by name, for batches written by hand. */

import { I386, NAMES, X86_64 } from "../../src/decode/names.generated.js";

export function syscallNumber(name: string, arch: number): number {
  const number = (arch === 1 ? I386 : X86_64).findIndex((row) => NAMES[row] === name);
  if (number < 0) throw new Error(`no syscall ${name}`);
  return number;
}
