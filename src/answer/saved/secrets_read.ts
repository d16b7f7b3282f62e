import type { SavedQuery } from "./saved.js";

/** Where keys, passwords and tokens are kept. */
const SECRETS = [
  "/\\.(ssh|gnupg|aws|azure|kube|docker|password-store)/",
  "/\\.(netrc|npmrc|pypirc|pgpass|my\\.cnf|git-credentials|env(\\.[a-z]+)?)$",
  "/etc/(shadow|gshadow|sudoers)$",
  "^/(run|var/run)/secrets/",
  "/(id_(rsa|dsa|ecdsa|ed25519)|credentials(\\.json)?|secrets?\\.[a-z]+)$",
  "\\.(pem|key|p12|pfx|jks|keystore|kdbx)$",
];

const inFilter = SECRETS.map((pattern) => `path ~ "${pattern}"`).join(" or ");
const inSql = SECRETS.map((pattern) => `regexp_matches(path, '${pattern}')`).join(" OR ");

export const query: SavedQuery = {
  name: "secrets-read",
  doc: "files that look like keys, passwords or tokens, and were opened",
  table: "file",
  columns: ["path", "opens", "open_errors", "reads", "bytes_read", "first"],
  where: `(${inFilter}) and (opens > 0 or open_errors > 0)`,
  order: { by: ["first"], descending: false },
  sql: `SELECT path, opens, open_errors, reads, bytes_read, first FROM file
WHERE (${inSql}) AND (opens > 0 OR open_errors > 0) ORDER BY first`,
};
