/** Numbers, sizes and durations as they are written, and back. Exact: nothing is rounded. */

const sizeUnits: Readonly<Record<string, bigint>> = {
  B: 1n,
  k: 1n << 10n,
  K: 1n << 10n,
  M: 1n << 20n,
  G: 1n << 30n,
  T: 1n << 40n,
  KiB: 1n << 10n,
  MiB: 1n << 20n,
  GiB: 1n << 30n,
  TiB: 1n << 40n,
  kB: 1_000n,
  KB: 1_000n,
  MB: 1_000_000n,
  GB: 1_000_000_000n,
  TB: 1_000_000_000_000n,
};

const durationUnits: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n, // U+00B5, the micro sign
  μs: 1_000n, // U+03BC, the Greek letter
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  min: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

/** No number in a trace is longer; longer ones are not worth converting. */
const longestNumber = 40;
const largest = (1n << 64n) - 1n;
const smallest = -(1n << 63n);

/** What is wrong with a text that ought to be a number or duration. */
export type UnitFault = "not one" | "not whole" | "too large";

/** Decimal, `0x` hex, `0o` or leading-zero octal (as C writes modes), or with a size unit. */
export function readNumber(text: string): number | bigint | UnitFault {
  if (text.length > longestNumber) return /^[+-]?\d+$/.test(text) ? "too large" : "not one";
  const found = /^([+-]?)(?:(0[xX][\da-fA-F]+)|0[oO]?([0-7]+)|(0|[1-9]\d*))$/.exec(text);
  if (found !== null) {
    const [, sign, hex, octal, decimal] = found;
    const magnitude = BigInt(hex ?? (octal === undefined ? (decimal ?? "0") : `0o${octal}`));
    return narrow(sign === "-" ? -magnitude : magnitude);
  }
  const sized = scaled(text, sizeUnits);
  return typeof sized === "bigint" ? narrow(sized) : sized;
}

/** Whole nanoseconds; only `0` may stand without a unit. */
export function readDuration(text: string): number | UnitFault {
  if (text === "0") return 0;
  if (text.length > longestNumber) return "not one";
  const ns = scaled(text, durationUnits);
  if (typeof ns !== "bigint") return ns;
  return ns > BigInt(Number.MAX_SAFE_INTEGER) ? "too large" : Number(ns);
}

function scaled(text: string, units: Readonly<Record<string, bigint>>): bigint | UnitFault {
  const found = /^(\d+)(?:\.(\d+))?([A-Za-zµμ]*)$/.exec(text);
  if (found === null) return "not one";
  const [, whole = "", fraction = "", unitName = ""] = found;
  const unit = Object.hasOwn(units, unitName) ? units[unitName] : undefined;
  if (unit === undefined) return unitName === "" && fraction !== "" ? "not whole" : "not one";
  const product = BigInt(whole + fraction) * unit;
  const divisor = 10n ** BigInt(fraction.length);
  return product % divisor === 0n ? product / divisor : "not whole";
}

function narrow(value: bigint): number | bigint | UnitFault {
  if (value > largest || value < smallest) return "too large";
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** The shortest exact form with a whole number, as `1500us`. */
export function formatDuration(ns: number): string {
  for (const unit of ["h", "m", "s", "ms", "us"]) {
    const size = Number(durationUnits[unit]);
    if (ns !== 0 && ns % size === 0) return `${ns / size}${unit}`;
  }
  return `${ns}ns`;
}
