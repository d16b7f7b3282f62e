import type { SavedQuery } from "./saved.js";

export const query: SavedQuery = {
  name: "failures",
  doc: "which calls failed, with which error, and how often",
  table: "syscall",
  columns: ["name", "err", "calls", "dur"],
  where: "failed",
  group: { by: ["name", "err"], sums: ["dur"], count: "calls" },
  order: { by: ["calls"], descending: true },
  sql: `SELECT name, err, count(*) AS calls, sum(dur) AS dur FROM syscall WHERE err IS NOT NULL
GROUP BY name, err ORDER BY calls DESC, min(seq)`,
};
