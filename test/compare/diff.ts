/** The shortest edit between two lists of lines. Not a patch format: for people and for counting. */

export interface Edit {
  readonly kind: "same" | "missing" | "extra";
  /** "missing": only in the first list; "extra": only in the second. */
  readonly line: string;
}

/** Above this many cells the middle is compared as multisets, so that memory stays bounded. */
const MAX_CELLS = 16_000_000;

export function diffLines(first: readonly string[], second: readonly string[]): Edit[] {
  let head = 0;
  while (head < first.length && head < second.length && first[head] === second[head]) head++;
  let tail = 0;
  while (
    tail < first.length - head &&
    tail < second.length - head &&
    first[first.length - 1 - tail] === second[second.length - 1 - tail]
  ) {
    tail++;
  }
  const a = first.slice(head, first.length - tail);
  const b = second.slice(head, second.length - tail);
  const middle = a.length * b.length > MAX_CELLS ? multisetDiff(a, b) : longestCommon(a, b);
  const same = (line: string): Edit => ({ kind: "same", line });
  return [
    ...first.slice(0, head).map(same),
    ...middle,
    ...first.slice(first.length - tail).map(same),
  ];
}

/** Differences without regard to order: what one list has more often than the other. */
export function multisetDiff(first: readonly string[], second: readonly string[]): Edit[] {
  const counts = new Map<string, number>();
  for (const line of second) counts.set(line, (counts.get(line) ?? 0) + 1);
  const edits: Edit[] = [];
  for (const line of first) {
    const left = counts.get(line) ?? 0;
    counts.set(line, left - 1);
    edits.push({ kind: left > 0 ? "same" : "missing", line });
  }
  for (const [line, left] of counts) {
    for (let i = 0; i < left; i++) edits.push({ kind: "extra", line });
  }
  return edits;
}

function longestCommon(a: readonly string[], b: readonly string[]): Edit[] {
  const width = b.length + 1;
  const table = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const at = i * width + j;
      table[at] =
        a[i] === b[j]
          ? (table[at + width + 1] ?? 0) + 1
          : Math.max(table[at + width] ?? 0, table[at + 1] ?? 0);
    }
  }
  const edits: Edit[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const left = a[i];
    const right = b[j];
    if (left !== undefined && left === right) {
      edits.push({ kind: "same", line: left });
      i++;
      j++;
    } else if (
      left !== undefined &&
      (right === undefined || (table[(i + 1) * width + j] ?? 0) >= (table[i * width + j + 1] ?? 0))
    ) {
      edits.push({ kind: "missing", line: left });
      i++;
    } else if (right !== undefined) {
      edits.push({ kind: "extra", line: right });
      j++;
    }
  }
  return edits;
}

/** The changed lines with two lines around them, as `-` (first only) and `+` (second only). */
export function formatDiff(edits: readonly Edit[], context = 2): string[] {
  const near = new Set<number>();
  edits.forEach((edit, at) => {
    if (edit.kind === "same") return;
    for (let i = at - context; i <= at + context; i++) near.add(i);
  });
  const sign = { same: " ", missing: "-", extra: "+" };
  const lines: string[] = [];
  let last = -1;
  for (const at of [...near].sort((x, y) => x - y)) {
    const edit = edits[at];
    if (edit === undefined) continue;
    if (at !== last + 1 && lines.length > 0) lines.push("  ...");
    lines.push(`${sign[edit.kind]} ${edit.line}`);
    last = at;
  }
  return lines;
}
