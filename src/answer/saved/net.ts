import type { SavedQuery } from "./saved.js";

export const query: SavedQuery = {
  name: "net",
  doc: "who connected to whom, and how much went through",
  table: "connection",
  columns: ["time", "proc", "direction", "protocol", "peer", "err", "bytes_read", "bytes_written"],
  sql: `SELECT time, proc, direction, protocol, peer, err, bytes_read, bytes_written FROM connection
ORDER BY seq`,
};
