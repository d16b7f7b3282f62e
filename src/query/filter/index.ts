/**
 * The filter language of all commands: text to `Filter` (parse, strace, range), `Filter` to text
 * (format), `Filter` to a predicate over events (compile) or to a set of syscalls (capture).
 */

export type {
  CompareOp,
  EventsFilter,
  Filter,
  ProcessFilter,
  SyscallPattern,
  TimesFilter,
  Value,
} from "./ast.js";
export {
  captureBound,
  captureSysnos,
  type MayChoose,
  type SyscallBound,
  type SyscallEntry,
  syscallBound,
} from "./capture.js";
export {
  compileFilter,
  type EventPredicate,
  type FieldGetter,
  type FieldResolver,
  type FieldValue,
} from "./compile.js";
export { FilterError } from "./error.js";
export { formatFilter } from "./format.js";
export { type ParseOptions, parseFilter } from "./parse.js";
export { parseRange, parseSelector } from "./range.js";
export { combineStraceExpressions, parseStraceExpression } from "./strace.js";
export { operatorsOf } from "./values.js";
export type { Vocabulary } from "./vocabulary.js";
