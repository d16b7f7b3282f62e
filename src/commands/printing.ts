/** Events of a trace as chunks of output, in any of the formats of `trace show`. */

import type { Filter } from "../query/filter/index.js";
import { columnsOfBoth, type Selection, selectEvents } from "../query/select.js";
import type { JsonlWriter } from "../show/jsonl.js";
import type { Notation } from "../show/notation.js";
import type { EventSource, Keep, SpanningCalls } from "../show/source.js";
import type { TimeStyle } from "../show/time.js";
import type { Stack, StackTable } from "../stacks/table.js";
import { type EventBatch, EventFlag } from "../trace/batch.js";
import { CALL_COLUMNS } from "../trace/columns.js";
import type { Trace } from "../trace/trace.js";

export type ShowFormat = "text" | "strace" | "json" | "jsonl";

export interface PrintOptions {
  readonly format: ShowFormat;
  readonly time: TimeStyle;
  /** Time spent in each call. */
  readonly duration: boolean;
  readonly stringLimit?: number;
  readonly verbose?: boolean;
  readonly descriptors?: "number" | "path" | "full";
  readonly showSecrets?: boolean;
  readonly color?: boolean;
  /** Only these events (and only those of them that the filter chooses). */
  readonly only?: ReadonlySet<number>;
  /** Stacks to show below their events. */
  readonly stacks?: StackTable;
}

type Chunks = AsyncIterable<string | Uint8Array>;

/**
 * What the filter chooses, as text. A damaged block ends the chunks with an error, after everything
 * that was before it.
 */
export async function* eventChunks(
  trace: Trace,
  filter: Filter | undefined,
  options: PrintOptions,
): Chunks {
  const { chunks, failure } = await readableChunks(trace, filter, options);
  yield* chunks;
  const reason = failure();
  if (reason !== undefined) throw reason;
}

/** The same where what can be read is to be kept: after the last chunk `failure` says why events are missing. */
export async function readableChunks(
  trace: Trace,
  filter: Filter | undefined,
  options: PrintOptions,
): Promise<{ readonly chunks: Chunks; failure(): unknown }> {
  const selection = await selectEvents(trace, filter);
  const source = new Selected(trace, selection);
  const chunks = await formatChunks(source, keepOf(selection, options), options);
  return { chunks, failure: () => source.failure };
}

/** Parts of calls that the kernel restarted are strace's business: the later event tells the whole. */
function keepOf(selection: Selection, options: PrintOptions): Keep {
  const { keep: chosen } = selection;
  const { only } = options;
  const parts = options.format === "strace";
  return (batch, i) =>
    (parts || ((batch.flags[i] ?? 0) & EventFlag.Interrupted) === 0) &&
    (only === undefined || only.has(batch.firstSeq + i)) &&
    (chosen === undefined || chosen(batch, i));
}

async function formatChunks(source: Selected, keep: Keep, options: PrintOptions): Promise<Chunks> {
  const notation = {
    stringLimit: options.stringLimit ?? 32,
    verbose: options.verbose ?? false,
    descriptors: options.descriptors ?? "path",
    showSecrets: options.showSecrets ?? false,
  } as const;
  switch (options.format) {
    case "strace": {
      const { straceLines } = await import("../show/strace.js");
      const { time, duration } = options;
      const below = await stackTexts(options);
      const strace = { notation, time, duration, pid: true, ...(below && { below }) };
      return straceLines(source, strace, keep);
    }
    case "text":
      return textChunks(source, keep, options, notation);
    case "jsonl": {
      const { jsonLines } = await import("../show/jsonl.js");
      if (options.stacks !== undefined) return jsonStackLines(source, keep, options);
      return jsonLines(source.trace, source.batches(), jsonOptions(options), keep);
    }
    case "json":
      return jsonDocument(source, keep, options);
  }
}

/** Lines for people. */
async function* textChunks(
  source: Selected,
  keep: Keep,
  options: PrintOptions,
  notation: Notation,
): Chunks {
  const [{ TextWriter }, { COLOURS, PLAIN }] = await Promise.all([
    import("../show/text.js"),
    import("../show/palette.js"),
  ]);
  const writer = new TextWriter(source.trace, {
    notation,
    palette: options.color === true ? COLOURS : PLAIN,
    time: options.time === "none" ? "relative" : options.time,
    slow: options.duration ? 0 : 1_000_000,
    showSecrets: options.showSecrets ?? false,
  });
  const below = await stackTexts(options);
  let text = "";
  for await (const batch of source.batches()) {
    for (let i = 0; i < batch.count; i++) {
      if (!keep(batch, i)) continue;
      text += `${writer.line(batch, i)}\n`;
      if (below !== undefined) text += below(batch.firstSeq + i);
      if (text.length < CHUNK) continue;
      yield text;
      text = "";
    }
  }
  yield text;
}

function jsonOptions(options: PrintOptions) {
  return {
    stringLimit: options.stringLimit ?? 32,
    showSecrets: options.showSecrets ?? false,
  };
}

const CHUNK = 192 * 1024;

/** `{"schema":...,"events":[` one event per line `]}`. */
async function* jsonDocument(source: Selected, keep: Keep, options: PrintOptions): Chunks {
  const [{ jsonHeader }, { JsonlWriter }] = await Promise.all([
    import("../show/json.js"),
    import("../show/jsonl.js"),
  ]);
  const writer = new JsonlWriter(source.trace, jsonOptions(options));
  writer.sink.text(`${jsonHeader().slice(0, -1)},"events":[\n`);
  const withStack = await jsonStacks(writer, options);
  let isFirst = true;
  for await (const batch of source.batches()) {
    for (let i = 0; i < batch.count; i++) {
      if (!keep(batch, i)) continue;
      if (!isFirst) writer.sink.text(",");
      isFirst = false;
      writer.event(batch, i);
      withStack?.(batch.firstSeq + i);
      if (writer.sink.length > CHUNK) yield writer.sink.take();
    }
  }
  writer.sink.text("]}\n");
  yield writer.sink.take();
}

/** The stack of an event as lines of the chosen format; undefined when none are wanted. */
async function stackTexts(options: PrintOptions): Promise<((seq: number) => string) | undefined> {
  const { stacks, format } = options;
  if (stacks === undefined) return undefined;
  const [{ stackLines, straceStack }, { painter }] = await Promise.all([
    import("../stacks/render.js"),
    import("../report/color.js"),
  ]);
  const paint = painter(options.color === true ? "always" : "never", false, {});
  const text = (stack: Stack) =>
    format === "strace" ? straceStack(stack) : stackLines(stack, paint);
  return (seq) => {
    const stack = stacks.of(seq);
    return stack === undefined ? "" : text(stack);
  };
}

/** Puts the stack into the object that the writer has just ended; undefined when none are wanted. */
async function jsonStacks(
  { sink }: JsonlWriter,
  { stacks }: PrintOptions,
): Promise<((seq: number) => void) | undefined> {
  if (stacks === undefined) return undefined;
  const { stackJson } = await import("../stacks/render.js");
  return (seq) => {
    const stack = stacks.of(seq);
    if (stack === undefined) return;
    // The object's end and the line's.
    sink.truncate(sink.length - 2);
    sink.text(`,"stack":${JSON.stringify(stackJson(stack))}}\n`);
  };
}

/** As `jsonLines`, with a stack in each event that has one. */
async function* jsonStackLines(source: Selected, keep: Keep, options: PrintOptions): Chunks {
  const [{ jsonHeader }, { JsonlWriter }] = await Promise.all([
    import("../show/json.js"),
    import("../show/jsonl.js"),
  ]);
  const writer = new JsonlWriter(source.trace, jsonOptions(options));
  const withStack = await jsonStacks(writer, options);
  writer.sink.text(`${jsonHeader()}\n`);
  for await (const batch of source.batches()) {
    for (let i = 0; i < batch.count; i++) {
      if (!keep(batch, i)) continue;
      writer.event(batch, i);
      withStack?.(batch.firstSeq + i);
      if (writer.sink.length > CHUNK) yield writer.sink.take();
    }
  }
  yield writer.sink.take();
}

/** The part of a trace that a selection speaks of. Ends at the first damage, and keeps the error. */
export class Selected implements EventSource {
  readonly trace: Trace;
  readonly #selection: Selection;
  failure: unknown;

  constructor(trace: Trace, selection: Selection) {
    this.trace = trace;
    this.#selection = selection;
  }

  async *batches(): AsyncGenerator<EventBatch> {
    const { columns, read } = this.#selection;
    try {
      yield* this.trace.batches({ ...read, columns: columnsOfBoth(CALL_COLUMNS, columns) });
    } catch (error) {
      this.failure = error;
    }
  }

  /** Those whose entries stand before the part begin it: they are shown as resumed. */
  async spanningCalls(): Promise<SpanningCalls> {
    const { read } = this.#selection;
    const all = await this.trace.spanningCalls();
    if (read.from === undefined && read.to === undefined) return all;
    const from = read.from ?? 0;
    const to = read.to ?? Number.MAX_SAFE_INTEGER;
    const inside = Array.from(all.seq, (seq, k) => [all.entry[k] ?? 0, seq] as const).filter(
      ([entry, seq]) => entry >= from && seq >= from && seq <= to,
    );
    return { entry: inside.map(([entry]) => entry), seq: inside.map(([, seq]) => seq) };
  }

  async eventAt(seq: number): Promise<{ batch: EventBatch; i: number } | undefined> {
    try {
      return await this.trace.eventAt(seq);
    } catch {
      // The damage is met again, and reported, where the events are read in their order.
      return undefined;
    }
  }
}
