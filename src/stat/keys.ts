/** What statistics can be grouped and sorted by: the words of the command line. Loads nothing else. */

export const GROUPINGS = ["syscall", "process", "thread", "path", "peer"] as const;
export type Grouping = (typeof GROUPINGS)[number];

export const SORT_KEYS = [
  "time",
  "calls",
  "errors",
  "name",
  "mean",
  "min",
  "max",
  "p50",
  "p99",
  "bytes",
  "cpu",
  "nothing",
] as const;
export type SortKey = (typeof SORT_KEYS)[number];

/** strace's other names for them. */
const aliases: Readonly<Record<string, SortKey>> = {
  "time-total": "time",
  "total-time": "time",
  total_time: "time",
  "time-percent": "time",
  time_percent: "time",
  count: "calls",
  error: "errors",
  syscall: "name",
  "syscall-name": "name",
  avg: "mean",
  "avg-time": "mean",
  avg_time: "mean",
  "min-time": "min",
  min_time: "min",
  shortest: "min",
  "max-time": "max",
  max_time: "max",
  longest: "max",
  none: "nothing",
};

export function sortKey(word: string): SortKey | undefined {
  return SORT_KEYS.find((key) => key === word) ?? aliases[word];
}
