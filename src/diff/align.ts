/**
 * Which event of one stream is which of another: equal hashes, in the same order, as many as can be found at bounded cost.
 * Common ends first, then hashes that are unique on both sides (patience), then Myers' algorithm between them.
 */

import { append } from "../group.js";

/** For each event of a: the index in b, or -1. */
export type Matches = Int32Array;

/** Edits that Myers' algorithm looks for in one stretch before it gives up on it. */
const MOST_EDITS = 1500;
/** Nesting of stretches between unique hashes. */
const MOST_DEPTH = 64;

export function align(a: ArrayLike<number>, b: ArrayLike<number>): Matches {
  const matches = new Int32Array(a.length).fill(-1);
  const work: Stretch[] = [{ fromA: 0, toA: a.length, fromB: 0, toB: b.length, depth: 0 }];
  for (let stretch = work.pop(); stretch !== undefined; stretch = work.pop()) {
    const rest = trim(a, b, stretch, matches);
    if (rest.fromA === rest.toA || rest.fromB === rest.toB) continue;
    if (isSmall(rest) && myers(a, b, rest, matches)) continue;
    const anchors = rest.depth < MOST_DEPTH ? uniqueAnchors(a, b, rest) : [];
    if (anchors.length === 0) {
      if (!myers(a, b, rest, matches)) greedy(a, b, rest, matches);
      continue;
    }
    let { fromA, fromB } = rest;
    for (const [x, y] of anchors) {
      matches[x] = y;
      work.push({ fromA, toA: x, fromB, toB: y, depth: rest.depth + 1 });
      fromA = x + 1;
      fromB = y + 1;
    }
    work.push({ fromA, toA: rest.toA, fromB, toB: rest.toB, depth: rest.depth + 1 });
  }
  return matches;
}

interface Stretch {
  readonly fromA: number;
  readonly toA: number;
  readonly fromB: number;
  readonly toB: number;
  readonly depth: number;
}

function isSmall({ fromA, toA, fromB, toB }: Stretch): boolean {
  return toA - fromA + (toB - fromB) <= 2000;
}

/** Matches the equal ends, and gives what is between. */
function trim(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  stretch: Stretch,
  matches: Matches,
): Stretch {
  let { fromA, toA, fromB, toB } = stretch;
  while (fromA < toA && fromB < toB && a[fromA] === b[fromB]) matches[fromA++] = fromB++;
  while (fromA < toA && fromB < toB && a[toA - 1] === b[toB - 1]) matches[--toA] = --toB;
  return { fromA, toA, fromB, toB, depth: stretch.depth };
}

/** Hashes that are once on each side, as far as they are in the same order. */
function uniqueAnchors(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  { fromA, toA, fromB, toB }: Stretch,
): (readonly [number, number])[] {
  const TWICE = -1;
  const placeB = new Map<number, number>();
  for (let y = fromB; y < toB; y++) {
    const hash = b[y] as number;
    placeB.set(hash, placeB.has(hash) ? TWICE : y);
  }
  const placeA = new Map<number, number>();
  for (let x = fromA; x < toA; x++) {
    const hash = a[x] as number;
    if (placeB.has(hash)) placeA.set(hash, placeA.has(hash) ? TWICE : x);
  }
  const pairs: (readonly [number, number])[] = [];
  for (const [hash, x] of placeA) {
    const y = placeB.get(hash) ?? TWICE;
    if (x !== TWICE && y !== TWICE) pairs.push([x, y]);
  }
  pairs.sort((p, q) => p[0] - q[0]);
  return longestRising(pairs);
}

/** The longest part of pairs, which rise in x, that rises in y too. */
function longestRising(
  pairs: readonly (readonly [number, number])[],
): (readonly [number, number])[] {
  const ends: number[] = [];
  const before = new Int32Array(pairs.length).fill(-1);
  pairs.forEach(([, y], k) => {
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((pairs[ends[middle] as number]?.[1] ?? 0) < y) low = middle + 1;
      else high = middle;
    }
    before[k] = low > 0 ? (ends[low - 1] as number) : -1;
    ends[low] = k;
  });
  const chain: (readonly [number, number])[] = [];
  for (let k = ends.at(-1) ?? -1; k >= 0; k = before[k] as number) {
    const pair = pairs[k];
    if (pair !== undefined) chain.push(pair);
  }
  return chain.reverse();
}

/** Myers' O(ND) algorithm, forwards. False, with nothing matched, when there are too many edits. */
function myers(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  stretch: Stretch,
  matches: Matches,
): boolean {
  const { fromA, toA, fromB, toB } = stretch;
  const n = toA - fromA;
  const m = toB - fromB;
  const most = Math.min(n + m, MOST_EDITS);
  const offset = most + 1;
  const front = new Int32Array(2 * most + 3);
  const trail: Int32Array[] = [];
  for (let d = 0; d <= most; d++) {
    // Only diagonals -d-1 .. d+1 are read again.
    trail.push(front.slice(offset - d - 1, offset + d + 2));
    for (let k = -d; k <= d; k += 2) {
      const down =
        k === -d ||
        (k !== d && (front[offset + k - 1] as number) < (front[offset + k + 1] as number));
      let x = down ? (front[offset + k + 1] as number) : (front[offset + k - 1] as number) + 1;
      let y = x - k;
      if (x > n || y > m) {
        front[offset + k] = x;
        continue;
      }
      while (x < n && y < m && a[fromA + x] === b[fromB + y]) {
        x += 1;
        y += 1;
      }
      front[offset + k] = x;
      if (x < n || y < m) continue;
      backtrack(trail, stretch, matches);
      return true;
    }
  }
  return false;
}

function backtrack(
  trail: readonly Int32Array[],
  { fromA, toA, fromB, toB }: Stretch,
  matches: Matches,
): void {
  let x = toA - fromA;
  let y = toB - fromB;
  for (let d = trail.length - 1; d >= 0; d--) {
    const front = trail[d] as Int32Array;
    // In what was kept, diagonal k stands at k + d + 1.
    const at = (k: number) => front[k + d + 1] as number;
    const k = x - y;
    const down = k === -d || (k !== d && at(k - 1) < at(k + 1));
    const from = down ? k + 1 : k - 1;
    const startX = d === 0 ? 0 : at(from);
    const startY = d === 0 ? 0 : startX - from;
    while (x > startX && y > startY && x - 1 >= 0 && y - 1 >= 0) {
      if (d > 0 && x === (down ? startX : startX + 1) && y === (down ? startY + 1 : startY)) break;
      x -= 1;
      y -= 1;
      matches[fromA + x] = fromB + y;
    }
    if (d === 0) break;
    x = startX;
    y = startY;
  }
}

/** Takes the next equal one, whatever it passes over: for stretches with too many differences to be looked at closely. */
function greedy(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  stretch: Stretch,
  matches: Matches,
): void {
  const { fromA, toA, fromB, toB } = stretch;
  const places = new Map<number, number[]>();
  for (let y = toB - 1; y >= fromB; y--) {
    append(places, b[y] as number, y);
  }
  let next = fromB;
  // No further ahead than a stretch like this is long on average.
  const window = 256;
  for (let x = fromA; x < toA; x++) {
    const own = places.get(a[x] as number);
    while (own !== undefined && (own.at(-1) ?? next) < next) own.pop();
    const y = own?.at(-1);
    if (y === undefined || y - next > window) continue;
    matches[x] = y;
    next = y + 1;
  }
}
