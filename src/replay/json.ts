/**
 * What came of a replay, as one JSON document:
 *
 *     {"schema":"trace.replay","version":1,"trace":...,"faithful":...,"desyncs":[{...}]}
 *
 * Events in it have the form of `trace show --format=json`; what the program did instead has no `ret`.
 */

import type { TraceContext } from "../decode/context.js";
import type { Value } from "../decode/value.js";
import type { ReplayResult } from "../replay.js";
import { JSON_OPTIONS, jsonEvent, jsonValue } from "../show/json.js";
import type { Trace } from "../trace/trace.js";
import type { Place } from "./place.js";
import type { DesyncReport } from "./report.js";
import type { Row } from "./rows.js";

export const SCHEMA = "trace.replay";
export const SCHEMA_VERSION = 1;

/** The result of the last round, and what is said of all of them. */
export interface ReplayDocument {
  readonly result: ReplayResult;
  readonly replays: number;
  readonly reports: readonly DesyncReport[];
}

export function replayJson(trace: Trace, { result, replays, reports }: ReplayDocument): string {
  const document = {
    schema: SCHEMA,
    version: SCHEMA_VERSION,
    trace: trace.path,
    command: trace.info.command,
    faithful: result.faithful,
    exitCode: result.exitCode ?? null,
    exitSignal: result.exitSignal ?? null,
    events: result.events,
    processes: result.processes,
    threads: result.threads,
    answered: result.answered,
    repeated: result.repeated,
    replays,
    duration: result.durationNs,
    recordedDuration: trace.duration,
    cutAt: result.cutAt ?? null,
    notes: result.notes,
    differences: result.desyncs.length,
    desyncs: reports.map((report) => reportJson(report, trace)),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function reportJson(report: DesyncReport, trace: TraceContext): object {
  const { bytes } = report;
  return {
    seq: report.seq,
    reason: report.reason,
    summary: report.summary,
    process: `p${report.process.number}`,
    thread: report.process.thread,
    tid: report.process.tid,
    argv: report.process.argv,
    path: report.process.path,
    expected: eventJson(report.expected, trace),
    actual: actualJson(report.actual, trace),
    fields: report.fields.map(({ name, expected, actual, differs }) => ({
      name,
      expected: plain(expected),
      actual: plain(actual),
      differs,
    })),
    bytes:
      bytes === undefined
        ? null
        : {
            name: bytes.name,
            address: `0x${bytes.address.toString(16)}`,
            offset: bytes.offset,
            from: bytes.from,
            expected: Buffer.from(bytes.expected).toString("base64"),
            actual: Buffer.from(bytes.actual).toString("base64"),
          },
    place: placeJson(report.place),
    expectedPlace: placeJson(report.expectedPlace),
    callers: report.callers.map(placeJson),
    script: report.script,
    around: report.around.map((row) => eventJson(row, trace)),
    hints: report.hints,
  };
}

function eventJson(row: Row | undefined, trace: TraceContext): object | null {
  if (row === undefined) return null;
  return JSON.parse(jsonEvent(row.batch, row.i, trace)) as object;
}

/** Times and results of what was stopped at its beginning mean nothing. */
function actualJson(row: Row | undefined, trace: TraceContext): object | null {
  const event = eventJson(row, trace);
  if (event === null) return null;
  const { seq, time, dur, ret, state, ...rest } = event as Record<string, unknown>;
  return rest;
}

function plain(value: Value): unknown {
  return JSON.parse(jsonValue(value, JSON_OPTIONS));
}

function placeJson(place: Place | undefined): object | null {
  if (place === undefined) return null;
  return {
    address: `0x${place.address.toString(16)}`,
    file: place.file ?? null,
    offset: place.offset ?? null,
    symbol: place.symbol ?? null,
    source: place.source ?? null,
  };
}
