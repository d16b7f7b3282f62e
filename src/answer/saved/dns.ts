import type { SavedQuery } from "./saved.js";

export const query: SavedQuery = {
  name: "dns",
  doc: "names that were looked up, where, and what came back",
  table: "dns",
  columns: ["time", "proc", "server", "query", "type", "rcode", "took", "answers"],
  sql: "SELECT time, proc, server, query, type, rcode, took, answers FROM dns ORDER BY seq",
};
