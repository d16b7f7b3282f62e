/** All tables by their names, in the order in which they are listed. */

import { arg } from "./arg.js";
import { connection } from "./connection.js";
import { dns } from "./dns.js";
import { event } from "./event.js";
import { env, exec } from "./exec.js";
import { fd } from "./fd.js";
import { file } from "./file.js";
import { lost } from "./lost.js";
import { elf, map } from "./map.js";
import { process } from "./process.js";
import { signal } from "./signal.js";
import { socket } from "./socket.js";
import { frame, stack } from "./stack.js";
import { syscall } from "./syscall.js";
import type { TableDef } from "./table.js";
import { thread } from "./thread.js";

export const TABLES: readonly TableDef[] = [
  ...[event, syscall, process, thread, exec, file, fd, socket],
  ...[connection, dns, signal, map, elf, arg, env, stack, frame, lost],
];

/** The table of that name, or undefined. */
export function findTable(name: string): TableDef | undefined {
  return TABLES.find((table) => table.name === name);
}
