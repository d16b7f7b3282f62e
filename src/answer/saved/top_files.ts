import type { SavedQuery } from "./saved.js";

export const query: SavedQuery = {
  name: "top-files",
  doc: "files by how much was read from them and written to them",
  table: "file",
  columns: ["path", "opens", "reads", "writes", "bytes_read", "bytes_written", "total"],
  order: { by: ["bytes_read", "bytes_written"], descending: true },
  limit: 20,
  sql: `SELECT path, opens, reads, writes, bytes_read, bytes_written, total FROM file
ORDER BY bytes_read + bytes_written DESC, first LIMIT 20`,
};
