/** Counts in bars. */

import { type Painter, plainPainter } from "./color.js";
import { humanCount, humanDuration, percent } from "./units.js";

export interface Bar {
  /** From this many nanoseconds up to the next bar's. */
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

const PARTS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** One line per bar, as wide as `columns`: range, count, share, bar. */
export function histogramText(
  bars: readonly Bar[],
  columns: number,
  paint: Painter = plainPainter,
): string {
  const total = bars.reduce((sum, bar) => sum + bar.count, 0);
  const most = bars.reduce((max, bar) => Math.max(max, bar.count), 0);
  const counts = bars.map((bar) => humanCount(bar.count));
  const countWidth = Math.max(0, ...counts.map((count) => count.length));
  const room = Math.max(10, columns - 34 - countWidth);
  let out = "";
  bars.forEach((bar, k) => {
    const range = `${humanDuration(bar.from).padStart(9)} .. ${humanDuration(bar.to).padStart(9)}`;
    const share = `${percent(bar.count, total).padStart(5)} %`;
    const line = `${range}  ${(counts[k] ?? "").padStart(countWidth)} ${share}  `;
    out += `${line}${paint("cyan", barText(bar.count, most, room))}`.replace(/ +$/, "");
    out += "\n";
  });
  return out;
}

function barText(count: number, most: number, columns: number): string {
  if (count === 0 || most === 0) return "";
  const eighths = Math.max(1, Math.round((8 * columns * count) / most));
  return "█".repeat(Math.floor(eighths / 8)) + (PARTS[eighths % 8] ?? "");
}
