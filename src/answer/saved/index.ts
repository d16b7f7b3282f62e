/** All saved queries, in the order in which they are listed. */

import { query as dns } from "./dns.js";
import { query as execs } from "./execs.js";
import { query as failures } from "./failures.js";
import { query as filesWritten } from "./files_written.js";
import { query as net } from "./net.js";
import type { SavedQuery } from "./saved.js";
import { query as secretsRead } from "./secrets_read.js";
import { query as slow } from "./slow.js";
import { query as topFiles } from "./top_files.js";

export const SAVED_QUERIES: readonly SavedQuery[] = [
  ...[topFiles, slow, net, execs],
  ...[failures, filesWritten, secretsRead, dns],
];

/** The query of that name (without `@`), or undefined. */
export function savedQuery(name: string): SavedQuery | undefined {
  return SAVED_QUERIES.find((query) => query.name === name);
}
