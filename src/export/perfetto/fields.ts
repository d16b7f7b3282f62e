/** Numbers of the fields that are written, by their names in Perfetto's definitions (perfetto_trace.proto). */

export const Trace = { packet: 1 } as const;

export const Packet = {
  clockSnapshot: 6,
  timestamp: 8,
  sequenceId: 10,
  trackEvent: 11,
  internedData: 12,
  sequenceFlags: 13,
  timestampClockId: 58,
  defaults: 59,
  trackDescriptor: 60,
  firstOnSequence: 87,
  traceUuid: 89,
} as const;

/** `SequenceFlags`. */
export const SequenceFlag = { cleared: 1, needsState: 2 } as const;

export const Clocks = { clock: 1, primary: 2 } as const;
export const Clock = { id: 1, timestamp: 2, isIncremental: 3, unitNanos: 4 } as const;
/** `BuiltinClock`; from 64 on a clock is a sequence's own. */
export const ClockId = { realtime: 1, boottime: 6, ofSequence: 64 } as const;

export const TraceUuid = { high: 1, low: 2 } as const;

export const Defaults = { trackEvent: 11, timestampClockId: 58 } as const;
export const TrackEventDefaults = { trackUuid: 11 } as const;

export const TrackEvent = {
  categoryIids: 3,
  annotations: 4,
  type: 9,
  nameIid: 10,
  trackUuid: 11,
  extraCounterValues: 12,
  name: 23,
  extraCounterTracks: 31,
  flowIds: 47,
  terminatingFlowIds: 48,
} as const;
export const EventType = { begin: 1, end: 2, instant: 3 } as const;

export const Annotation = {
  nameIid: 1,
  bool: 2,
  uint: 3,
  int: 4,
  string: 6,
  pointer: 7,
  name: 10,
  dictEntries: 11,
  arrayValues: 12,
  stringIid: 17,
} as const;

export const Interned = {
  categories: 1,
  names: 2,
  annotationNames: 3,
  annotationStrings: 29,
} as const;
/** Of all messages that intern a text. */
export const InternedText = { iid: 1, text: 2 } as const;

export const Track = {
  uuid: 1,
  name: 2,
  process: 3,
  thread: 4,
  parent: 5,
  counter: 8,
} as const;
export const ProcessTrack = { pid: 1, cmdline: 2, name: 6, start: 7 } as const;
export const ThreadTrack = { pid: 1, tid: 2, name: 5 } as const;
export const CounterTrack = { unit: 3 } as const;
export const Unit = { count: 2, bytes: 3 } as const;
