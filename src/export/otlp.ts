/**
 * Programs as OpenTelemetry spans, in the form of the OTLP file exporter: a line of JSON (`TracesData`) per batch of spans.
 *
 * A span is a program from its start to the next one in its process, or to the end of the process. Its parent is the program
 * that started the process. Ids come from the trace, so exporting again gives the same spans; a recording that was started
 * under a span (`TRACEPARENT`) continues that one. Attributes have the names of the semantic conventions for processes and hosts.
 */

import { basename } from "node:path";
import { EventKind } from "../trace/batch.js";
import { History, type ProcessLife, type ProgramStart } from "../trace/history.js";
import { processName } from "../trace/process.js";
import type { Trace } from "../trace/trace.js";
import { programName } from "./program.js";
import type { EventStream } from "./stream.js";

type AnyValue =
  | { readonly stringValue: string }
  | { readonly intValue: string }
  | { readonly boolValue: boolean }
  | { readonly arrayValue: { readonly values: readonly AnyValue[] } };

interface Attribute {
  readonly key: string;
  readonly value: AnyValue;
}

const string = (key: string, text: string): Attribute => ({ key, value: { stringValue: text } });
const int = (key: string, value: number): Attribute => ({ key, value: { intValue: `${value}` } });
const strings = (key: string, texts: readonly string[]): Attribute => ({
  key,
  value: { arrayValue: { values: texts.map((text) => ({ stringValue: text })) } },
});

/** Of `Span.SpanKind` and `Status.StatusCode`. */
const INTERNAL = 1;
const STATUS_ERROR = 2;

const SPANS_OF_LINE = 512;

/** Spans of the programs whose starts the stream chooses. */
export async function* otlpLines(stream: EventStream): AsyncGenerator<string> {
  const { trace } = stream;
  const history = await History.read(trace);
  const chosen = await chosenStarts(stream);
  const context = contextOf(history, trace);
  let spans: object[] = [];
  const line = () => {
    const scope = { name: "trace", version: trace.info.version };
    const resource = { attributes: resourceOf(trace, stream.missing) };
    const text = JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ scope, spans }] }] });
    spans = [];
    return `${text}\n`;
  };
  for (const life of history.lives) {
    for (const [k, program] of life.programs.entries()) {
      if (!chosen.has(program.seq)) continue;
      spans.push(spanOf(life, k, program, history, trace, context));
      if (spans.length === SPANS_OF_LINE) yield line();
    }
  }
  if (spans.length > 0) yield line();
}

async function chosenStarts(stream: EventStream): Promise<Set<number>> {
  const chosen = new Set<number>();
  for await (const batch of stream.batches()) {
    for (let i = 0; i < batch.count; i++) {
      if (batch.kind[i] === EventKind.Exec && stream.keep(batch, i)) chosen.add(batch.firstSeq + i);
    }
  }
  return chosen;
}

interface Context {
  readonly traceId: string;
  readonly parent: string;
}

/** That of the first program's environment (W3C Trace Context), or the trace's own id. */
function contextOf(history: History, trace: Trace): Context {
  const env = history.lives[0]?.programs[0]?.env ?? [];
  const header = env.find((line) => line.startsWith("TRACEPARENT="))?.slice(12) ?? "";
  const [, traceId = "", parent = ""] =
    /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(header) ?? [];
  if (/[^0]/.test(traceId) && /[^0]/.test(parent)) return { traceId, parent };
  return { traceId: trace.info.id, parent: "" };
}

/** Never all zeros, which would be no id. */
function spanId(program: ProgramStart): string {
  return (program.seq + 1).toString(16).padStart(16, "0");
}

/** The span of program `k` of a process. */
function spanOf(
  life: ProcessLife,
  k: number,
  program: ProgramStart,
  history: History,
  trace: Trace,
  context: Context,
): object {
  const next = life.programs[k + 1];
  const end = next?.time ?? life.end?.time ?? trace.duration;
  const starter = life.parent === 0 ? undefined : history.programAt(life.parent, life.createdBy);
  const before = life.programs[k - 1];
  const last = next === undefined ? life.end : undefined;
  const failed = last !== undefined && (last.code !== 0 || last.signal !== undefined);
  return {
    traceId: context.traceId,
    spanId: spanId(program),
    parentSpanId: starter === undefined ? context.parent : spanId(starter),
    name: programName(program),
    kind: INTERNAL,
    startTimeUnixNano: unixNanos(trace, program.time),
    endTimeUnixNano: unixNanos(trace, Math.max(end, program.time)),
    attributes: attributesOf(program, life, history, next === undefined),
    links: before === undefined ? [] : [{ traceId: context.traceId, spanId: spanId(before) }],
    status: failed ? { code: STATUS_ERROR, message: endText(last) } : {},
  };
}

function endText(end: NonNullable<ProcessLife["end"]>): string {
  return end.signal === undefined ? `exit ${end.code}` : `killed by ${end.signal}`;
}

function attributesOf(
  program: ProgramStart,
  life: ProcessLife,
  history: History,
  isLast: boolean,
): Attribute[] {
  const parent = history.life(life.parent);
  const { end } = life;
  const attributes = [
    int("process.pid", life.pid),
    string("process.executable.name", basename(program.path)),
    string("process.executable.path", program.path),
    strings("process.command_args", program.argv),
    string("process.working_directory", program.cwd),
    string("trace.process", processName(life.number)),
    int("trace.event", program.seq),
  ];
  if (parent !== undefined) attributes.push(int("process.parent_pid", parent.pid));
  if (end === undefined || !isLast) return attributes;
  if (end.signal === undefined) attributes.push(int("process.exit.code", end.code));
  else attributes.push(string("trace.exit.signal", end.signal));
  attributes.push(
    int("trace.cpu.user_ns", end.userTime),
    int("trace.cpu.system_ns", end.systemTime),
    int("trace.memory.peak_bytes", end.peakMemory),
  );
  return attributes;
}

function resourceOf(trace: Trace, missing: string | undefined): Attribute[] {
  const { info } = trace;
  const attributes = [
    string("service.name", basename(info.command[0] ?? "") || basename(trace.path)),
    string("os.type", "linux"),
    string("host.arch", "amd64"),
    string("trace.file", basename(trace.path)),
    string("trace.id", info.id),
  ];
  const host = info.facts.get("host");
  const kernel = info.facts.get("kernel");
  if (host !== undefined) attributes.push(string("host.name", host));
  if (kernel !== undefined) attributes.push(string("os.version", kernel));
  if (missing !== undefined) attributes.push(string("trace.partial", missing));
  return attributes;
}

function unixNanos({ startSeconds, startNanos }: Trace, nanos: number): string {
  return String(BigInt(startSeconds) * 1_000_000_000n + BigInt(startNanos + Math.round(nanos)));
}
