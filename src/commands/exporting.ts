/** The formats that are made of the events of one trace. */

import { TraceError } from "../errors.js";
import type { Weight } from "../export/stacks.js";
import type { EventStream } from "../export/stream.js";
import type { Filter } from "../query/filter/index.js";
import { type Selection, selectEvents } from "../query/select.js";
import type { StackTable } from "../stacks/table.js";
import { type EventBatch, EventFlag } from "../trace/batch.js";
import type { Trace } from "../trace/trace.js";
import { readableChunks, Selected } from "./printing.js";

export interface EventExportOptions {
  readonly weight: Weight;
  readonly stringLimit: number;
  readonly showSecrets: boolean;
  /** With the call stacks that the trace holds. */
  readonly stacks: boolean;
}

export interface EventExport {
  readonly chunks: AsyncIterable<string | Uint8Array>;
  /** After the last chunk: why events are missing, if some are. */
  failure(): unknown;
}

export async function eventExport(
  format: string,
  trace: Trace,
  filter: Filter | undefined,
  options: EventExportOptions,
): Promise<EventExport> {
  const { stringLimit, showSecrets } = options;
  if (format === "strace") {
    const style = { format: "strace", time: "ttt", duration: true, stringLimit } as const;
    return readableChunks(trace, filter, { ...style, showSecrets });
  }
  const stream = await ChosenEvents.open(trace, filter);
  return { chunks: await chunksOf(format, stream, options), failure: () => stream.failure };
}

async function chunksOf(
  format: string,
  stream: EventStream,
  { weight, stringLimit, showSecrets, ...options }: EventExportOptions,
): Promise<AsyncIterable<string | Uint8Array>> {
  const stacks = options.stacks ? await stacksIn(stream.trace) : undefined;
  switch (format) {
    case "perfetto": {
      const { perfettoChunks } = await import("../export/perfetto.js");
      const notation = { stringLimit, showSecrets, verbose: false, descriptors: "number" } as const;
      return perfettoChunks(stream, { notation, ...(stacks && { stacks }) });
    }
    case "folded":
      return (await import("../export/folded.js")).foldedLines(stream, weight, stacks);
    case "speedscope":
      return (await import("../export/speedscope.js")).speedscopeJson(stream, weight, stacks);
    default:
      return (await import("../export/otlp.js")).otlpLines(stream);
  }
}

/** The stacks that a trace holds. */
async function stacksIn(trace: Trace): Promise<StackTable> {
  const { keptStacks } = await import("../stacks/kept.js");
  const stacks = await keptStacks(trace);
  if (stacks !== undefined) return stacks;
  throw new TraceError("NO_STACKS", "the trace holds no stacks", {
    hint: `trace enrich --stacks ${trace.path} puts them there, by a replay`,
  });
}

/** What a filter chooses. Parts of calls that the kernel restarted are left out: the later event tells the whole. */
class ChosenEvents implements EventStream {
  readonly trace: Trace;
  readonly isFromStart: boolean;
  readonly #source: Selected;
  readonly #chosen: Selection["keep"];

  private constructor(trace: Trace, selection: Selection) {
    this.trace = trace;
    const { from = 0, fromTime = 0 } = selection.read;
    this.isFromStart = from === 0 && fromTime === 0;
    this.#source = new Selected(trace, selection);
    this.#chosen = selection.keep;
  }

  static async open(trace: Trace, filter: Filter | undefined): Promise<ChosenEvents> {
    return new ChosenEvents(trace, await selectEvents(trace, filter));
  }

  batches(): AsyncIterable<EventBatch> {
    return this.#source.batches();
  }

  keep(batch: EventBatch, i: number): boolean {
    return (
      ((batch.flags[i] ?? 0) & EventFlag.Interrupted) === 0 &&
      (this.#chosen === undefined || this.#chosen(batch, i))
    );
  }

  get failure(): unknown {
    return this.#source.failure;
  }

  get missing(): string | undefined {
    const { failure } = this;
    if (failure instanceof Error) return failure.message;
    if (this.trace.state === "cut") return "the recorder ended early";
    return this.trace.state === "recording" ? "it was still being recorded" : undefined;
  }
}
