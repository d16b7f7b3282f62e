/**
 * All commands, in the order of `trace --help`. Each is imported only when it is asked for, except `record`: it is in
 * the file that node starts with, since a program waits for it. What a command is called and does stands in its file.
 */

import type { CommandDef } from "./command.js";
import * as record from "./record.js";

type Load = () => Promise<{ readonly command: CommandDef }>;

const commands: ReadonlyMap<string, Load> = new Map<string, Load>([
  ["record", async () => record],
  ["replay", () => import("./replay.js")],
  ["show", () => import("./show.js")],
  ["stat", () => import("./stat.js")],
  ["query", () => import("./query.js")],
  ["tree", () => import("./tree.js")],
  ["diff", () => import("./diff.js")],
  ["accept", () => import("./accept.js")],
  ["spec", () => import("./spec.js")],
  ["export", () => import("./export.js")],
  ["elf", () => import("./elf.js")],
  ["info", () => import("./info.js")],
  ["ls", () => import("./ls.js")],
  ["pack", () => import("./pack.js")],
  ["enrich", () => import("./enrich.js")],
  ["dump", () => import("./dump.js")],
  ["doctor", () => import("./doctor.js")],
  ["fields", () => import("./fields.js")],
  ["completions", () => import("./completions.js")],
]);

export const commandNames: readonly string[] = [...commands.keys()];

/** The command of that name, or undefined. */
export async function loadCommand(name: string): Promise<CommandDef | undefined> {
  return (await commands.get(name)?.())?.command;
}

export async function loadAllCommands(): Promise<CommandDef[]> {
  const loaded = await Promise.all([...commands.values()].map((load) => load()));
  return loaded.map((module) => module.command);
}
