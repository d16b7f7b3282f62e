import { makeFolder } from "./environment.js";
import { measure } from "./measure.js";
import { tracers } from "./tracers.js";
import { loadWorkloads, prepare } from "./workload.js";

const [base, rm] = makeFolder();
const only = process.argv.slice(3);
try {
  for (const w of await loadWorkloads()) {
    if (only.length && !only.includes(w.name)) continue;
    const t0 = Date.now();
    const p = prepare(w, base, 1);
    const t1 = Date.now();
    const m = await measure(p, tracers(process.argv[2] ?? ""), base, 1);
    const r = (x: number) => x.toFixed(0).padStart(6);
    console.log(
      w.name.padEnd(14),
      "setup",
      r(t1 - t0),
      "nat",
      r(m.wall.native),
      "trc",
      r(m.wall.trace),
      "str",
      r(m.wall.strace),
      "pin",
      r(m.wall.pinned),
      "ev",
      m.events,
      "meta",
      m.metadataBytes.toFixed(2),
      "pay",
      m.payloadBytes.toFixed(1),
      "mem",
      m.peakMiB.toFixed(0),
      "t/p",
      (m.wall.trace / m.wall.pinned).toFixed(2),
    );
  }
} finally {
  rm();
}
