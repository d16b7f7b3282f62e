/** Events as `trace show --format=jsonl` has them. */

import { runCommand } from "./run.js";

/** A line of JSONL. */
export interface ShownEvent {
  readonly seq: number;
  readonly kind: string;
  readonly time: number;
  readonly dur?: number;
  readonly thread: string;
  readonly tid: number;
  readonly call?: string;
  readonly args?: Readonly<Record<string, unknown>>;
  readonly ret?: number | string | null;
  readonly retPath?: string;
  readonly err?: string;
  readonly state?: string;
  readonly resolved?: Readonly<Record<string, string>>;
  readonly path?: string;
  readonly buildId?: string | null;
  readonly base?: string;
  readonly length?: number;
  readonly offset?: number;
  readonly prot?: readonly string[];
  readonly argv?: readonly string[];
  readonly env?: readonly string[];
  readonly signal?: string;
  readonly code?: number;
  readonly process?: boolean;
}

/** `words`: a filter and further options of `trace show`. */
export async function shownEvents(file: string, ...words: string[]): Promise<ShownEvent[]> {
  const { stdout } = await runCommand(["show", file, "--format", "jsonl", ...words]);
  const [, ...lines] = stdout.trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as ShownEvent);
}
