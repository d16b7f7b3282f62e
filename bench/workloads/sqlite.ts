/** Inserts, each a transaction with a journal of its own; the disk is not waited for. */

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "../material.js";
import type { Workload } from "../workload.js";

export const workload: Workload = {
  title: "sqlite3 inserts",
  programs: ["sqlite3"],
  share: 0.15,
  prepare: ({ dir, amount }) => {
    const inserts = Array.from(
      { length: amount(26_000) },
      (_, k) => `INSERT INTO notes(body) VALUES ('${text(k, 1).trim()}');`,
    );
    const schema = [
      "PRAGMA synchronous=OFF;",
      "CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT);",
    ];
    writeFileSync(join(dir, "inserts.sql"), `${[...schema, ...inserts].join("\n")}\n`);
    return {
      argv: ["sqlite3", "notes.db", ".read inserts.sql"],
      reset: () => rmSync(join(dir, "notes.db"), { force: true }),
    };
  },
};
