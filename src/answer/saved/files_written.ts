import type { SavedQuery } from "./saved.js";

export const query: SavedQuery = {
  name: "files-written",
  doc: "files that were written to",
  table: "file",
  columns: ["path", "opens", "writes", "bytes_written", "first", "last"],
  where: "writes > 0",
  order: { by: ["bytes_written"], descending: true },
  sql: `SELECT path, opens, writes, bytes_written, first, last FROM file WHERE writes > 0
ORDER BY bytes_written DESC, first`,
};
