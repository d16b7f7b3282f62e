import type { SavedQuery } from "./saved.js";

export const query: SavedQuery = {
  name: "execs",
  doc: "the programs that were started, and how they ended",
  table: "exec",
  columns: ["time", "proc", "parent", "pid", "exit_code", "exit_signal", "exe", "argv"],
  sql: `SELECT time, proc, parent, pid, exit_code, exit_signal, exe, argv FROM exec ORDER BY seq`,
};
