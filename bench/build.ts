/** A program of many small C files with the Makefile that builds it. */

import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cFunction } from "./material.js";

/** Lays the files out; what is returned removes what a build has made. */
export function makeBuild(dir: string, files: number): () => void {
  const names = Array.from({ length: files }, (_, k) => `unit${k}`);
  const includes = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n";
  names.forEach((name, k) => {
    writeFileSync(join(dir, `${name}.c`), `${includes}${cFunction(name, k)}`);
  });
  writeFileSync(join(dir, "main.c"), "int main(void) { return 0; }\n");
  const objects = ["main", ...names].map((name) => `${name}.o`).join(" ");
  const rules = [`program: ${objects}`, "\tgcc -o $@ $^", "%.o: %.c", "\tgcc -O1 -c -o $@ $<", ""];
  writeFileSync(join(dir, "Makefile"), rules.join("\n"));
  return () => {
    for (const file of readdirSync(dir)) {
      if (file === "program" || file.endsWith(".o")) rmSync(join(dir, file));
    }
  };
}
