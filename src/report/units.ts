/** Numbers as people read them. */

const steps = [
  { below: 1e3, unit: "ns", scale: 1 },
  { below: 1e6, unit: "µs", scale: 1e3 },
  { below: 1e9, unit: "ms", scale: 1e6 },
  { below: 60e9, unit: "s", scale: 1e9 },
] as const;

/** Three digits and a unit: `870 ns`, `12.3 µs`, `1.25 s`, `3m 07s`, `2h 05m`. */
export function humanDuration(nanos: number): string {
  for (const { below, unit, scale } of steps) {
    // What would round up to the next unit is of the next unit: 999.96 ms is 1.00 s.
    if (nanos < below - scale * 0.0005 * (below / scale)) return `${digits(nanos / scale)} ${unit}`;
  }
  const seconds = Math.round(nanos / 1e9);
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`;
  const minutes = Math.floor(seconds / 60);
  return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
}

function digits(value: number): string {
  if (value === 0) return "0";
  if (value >= 99.95) return value.toFixed(0);
  if (value >= 9.995) return value.toFixed(1);
  return Number.isInteger(value) ? String(value) : value.toFixed(2);
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `512 B`, `1.50 KiB`, `23.4 MiB`. */
export function humanBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? String(value) : digits(value)} ${byteUnits[unit]}`;
}

/** `1,234,567`. */
export function humanCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `99.5`, without the sign. */
export function percent(part: number, whole: number): string {
  return whole === 0 ? "0.0" : ((100 * part) / whole).toFixed(1);
}

/** `2026-11-26 14:03:12`, local time. */
export function localTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return "?";
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()]
    .map((n) => two(n))
    .join("-");
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":")}`;
}

/** A count with its noun: `1 event`, `2 events`. */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${humanCount(count)} ${count === 1 ? noun : plural}`;
}
