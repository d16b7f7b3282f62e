/** Times of events as strace's options `-t`, `-tt`, `-ttt`, `-r` and `-T` write them. */

export type TimeStyle = "none" | "t" | "tt" | "ttt" | "r";

/** A moment of the recording, as seconds since 1970 and microseconds. */
export function wallClock(
  startSeconds: number,
  startNanos: number,
  nanos: number,
): { seconds: number; micros: number } {
  const total = startNanos + nanos;
  const carry = Math.floor(total / 1e9);
  return { seconds: startSeconds + carry, micros: Math.floor((total - carry * 1e9) / 1000) };
}

const six = (value: number) => String(value).padStart(6, "0");

/** The column before a line, with its blank; `previous` is the time of the line before, for `-r`. */
export function timeText(
  style: TimeStyle,
  start: { readonly startSeconds: number; readonly startNanos: number },
  nanos: number,
  previous: number,
): string {
  if (style === "none") return "";
  if (style === "r") {
    const micros = Math.max(0, Math.floor((nanos - previous) / 1000));
    return `${String(Math.floor(micros / 1e6)).padStart(6)}.${six(micros % 1e6)} `;
  }
  const { seconds, micros } = wallClock(start.startSeconds, start.startNanos, nanos);
  if (style === "ttt") return `${seconds}.${six(micros)} `;
  const date = new Date(seconds * 1000);
  const clock = Number.isNaN(date.getTime())
    ? "??:??:??"
    : [date.getHours(), date.getMinutes(), date.getSeconds()]
        .map((part) => String(part).padStart(2, "0"))
        .join(":");
  return style === "tt" ? `${clock}.${six(micros)} ` : `${clock} `;
}

/** `<0.000012>`. */
export function durationText(nanos: number): string {
  const micros = Math.floor(nanos / 1000);
  return `<${Math.floor(micros / 1e6)}.${six(micros % 1e6)}>`;
}
