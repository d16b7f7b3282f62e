import { writeFileSync } from "node:fs";
import { loadWorkloads, prepare } from "./workload.js";
const base = process.argv[2] ?? "";
for (const w of await loadWorkloads()) {
  if (!process.argv.slice(3).includes(w.name)) continue;
  const p = prepare(w, base, 1);
  writeFileSync(`${base}/${w.name}.argv.json`, JSON.stringify(p.argv));
}
