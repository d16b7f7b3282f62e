/** A profile for speedscope.app (its file-format-schema.json): the stacks of stacks.ts as weighted samples. */

import { basename } from "node:path";
import type { StackTable } from "../stacks/table.js";
import { collectStacks, stacksOf, type Weight } from "./stacks.js";
import type { EventStream } from "./stream.js";

const SCHEMA = "https://www.speedscope.app/file-format-schema.json";

const UNITS: Readonly<Record<Weight, string>> = {
  time: "nanoseconds",
  calls: "none",
  bytes: "bytes",
};

const NAMES: Readonly<Record<Weight, string>> = {
  time: "time in calls",
  calls: "calls",
  bytes: "bytes transferred",
};

export async function* speedscopeJson(
  stream: EventStream,
  weight: Weight,
  stacks?: StackTable,
): AsyncGenerator<string> {
  const root = await collectStacks(stream, weight, stacks);
  const numbers = new Map<string, number>();
  const numberOf = (name: string) => {
    const number = numbers.get(name) ?? numbers.size;
    numbers.set(name, number);
    return number;
  };
  const counted = [...stacksOf(root)];
  const samples = counted.map(([frames]) => frames.map(numberOf));
  const weights = counted.map(([, value]) => value);
  const partial = stream.missing === undefined ? "" : ` (partial: ${stream.missing})`;
  const name = `${basename(stream.trace.path)}${partial}`;
  yield `${JSON.stringify({
    $schema: SCHEMA,
    exporter: "trace",
    name,
    activeProfileIndex: 0,
    shared: { frames: [...numbers.keys()].map((frame) => ({ name: frame })) },
    profiles: [
      {
        type: "sampled",
        name: NAMES[weight],
        unit: UNITS[weight],
        startValue: 0,
        endValue: weights.reduce((sum, value) => sum + value, 0),
        samples,
        weights,
      },
    ],
  })}\n`;
}
