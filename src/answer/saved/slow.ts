import type { SavedQuery } from "./saved.js";

export const query: SavedQuery = {
  name: "slow",
  doc: "the calls that took longest",
  table: "syscall",
  columns: ["seq", "time", "dur", "proc", "name", "err", "path_resolved", "fd_path"],
  order: { by: ["dur"], descending: true },
  limit: 20,
  sql: `SELECT seq, time, dur, proc, name, err, path_resolved, fd_path FROM syscall
ORDER BY dur DESC, seq LIMIT 20`,
};
