/**
 * The library: what programs get from `import ... from "trace-syscalls"`. It lists the public names
 * and defines none. Everything is asynchronous; the event loop stays free while a program runs.
 */

export type { ResultColumn, ResultValue } from "./answer/results.js";
export { decodeCall } from "./decode/call.js";
export type { Argument, Call, Result, Value } from "./decode/value.js";
export { type DiffOptions, diff } from "./diff/diff.js";
export type {
  Aspect,
  Cause,
  Difference,
  DiffResult,
  EventRef,
  FileChange,
  LoneProcess,
  NetChange,
  ProcessRef,
} from "./diff/result.js";
export { RULES, type RuleName } from "./diff/rules.js";
export { TraceError, type TraceErrorOptions } from "./errors.js";
export {
  openTrace,
  ReadableTrace,
  type SqlAnswer,
  type SqlQueryOptions,
  type TableRow,
  type TableRowsOptions,
} from "./library.js";
export {
  type CpuLevel,
  type DataMode,
  type LostCounts,
  type Recording,
  type RecordOptions,
  type RecordResult,
  record,
  startRecording,
} from "./record.js";
export type { ByteDifference, Field } from "./replay/fields.js";
export type { Place } from "./replay/place.js";
export { type DesyncReport, desyncReport } from "./replay/report.js";
export type { Row } from "./replay/rows.js";
export {
  type ActualStop,
  type Desync,
  type DesyncReason,
  type MemoryDifference,
  type ReplayOptions,
  type ReplayResult,
  replay,
  type ScriptLine,
} from "./replay.js";
export type { Dictionary, PackedValues } from "./tables/dictionary.js";
export { findTable, TABLES } from "./tables/registry.js";
export type {
  BoolData,
  CodeData,
  ColumnData,
  ColumnType,
  IntData,
  Scan,
  TableBatch,
  TableColumn,
  TableDef,
  Unit,
  WordData,
} from "./tables/table.js";
export {
  CaptureSide,
  CaptureStatus,
  type ColumnGroup,
  type EventBatch,
  EventFlag,
  EventKind,
  type FdObject,
  NO_CONTENT,
  Slot,
  type ThreadInfo,
} from "./trace/batch.js";
export { History, type ProcessEnd, type ProcessLife, type ProgramStart } from "./trace/history.js";
export type { TraceInfo } from "./trace/info.js";
export { type ProcessInfo, processName, threadName } from "./trace/process.js";
export { type ReadOptions, Trace, type TraceState } from "./trace/trace.js";
export { hex, signed, unsigned } from "./trace/word.js";
