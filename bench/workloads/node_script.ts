/** A node program that reads and writes files, at once and through its thread pool. */

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeTree } from "../material.js";
import type { Workload } from "../workload.js";

const SCRIPT = `import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

const files = readdirSync("tree", { recursive: true })
  .map((name) => join("tree", name))
  .filter((path) => statSync(path).isFile());
mkdirSync("out");
const sums = files.map((path) => createHash("sha256").update(readFileSync(path)).digest("hex"));
for (let k = 0; k < files.length; k += 32) {
  const batch = await Promise.all(files.slice(k, k + 32).map((path) => readFile(path, "utf8")));
  writeFileSync(join("out", String(k)), batch.map((text) => text.length).join() + sums[k]);
}
`;

export const workload: Workload = {
  title: "node script",
  programs: [],
  share: 0.3,
  prepare: ({ dir, amount }) => {
    makeTree(join(dir, "tree"), amount(9_000));
    writeFileSync(join(dir, "script.mjs"), SCRIPT);
    return {
      argv: [process.execPath, "script.mjs"],
      reset: () => rmSync(join(dir, "out"), { recursive: true, force: true }),
    };
  },
};
