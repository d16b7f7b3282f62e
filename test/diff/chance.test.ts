/** Bytes whose differences are chance, and beside each a change that is none. */

import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { CanonicalTexts } from "../../src/diff/canon/texts.js";
import { Chance, type Source } from "../../src/diff/chance.js";
import { type RuleName, RuleSet } from "../../src/diff/rules.js";

const START = [1_790_000_000, 1_790_000_500];
const PIDS = [
  [4711, 4712],
  [815, 816],
];

const INODES = [10_741_022, 10_741_108];

function chance(...without: RuleName[]): Chance {
  const rules = new RuleSet(without);
  const [a, b] = [0, 1].map((run) => {
    const from = START[run] ?? 0;
    const pids = PIDS[run] ?? [];
    const texts = new CanonicalTexts({
      rules,
      places: undefined,
      pids: new Set(pids.map(String)),
      ports: new Set(),
      ids: new Set(),
      from,
      to: from + 3,
    });
    const processes = new Map(pids.map((pid, k) => [pid, k]));
    return { texts, processes, inodes: new Set([INODES[run] ?? 0]), from, to: from + 3 };
  });
  if (a === undefined || b === undefined) throw new Error("two sides");
  return new Chance(rules, a, b);
}

const isChance = (a: string | Buffer, b: string | Buffer, source: Source = "made") =>
  chance().explains(Buffer.from(a), Buffer.from(b), source, false);

/** Two messages of 64 bytes, alike but for what `write` puts in. */
function messages(write: (data: Buffer, run: number) => void): [Buffer, Buffer] {
  const [a, b] = [0, 1].map((run) => {
    const data = Buffer.alloc(64, 0x81);
    write(data, run);
    return data;
  });
  return [a ?? Buffer.alloc(0), b ?? Buffer.alloc(0)];
}

it("leaves a number that both have, whatever has that number in one run", () => {
  expect(isChance("4711\npid 4711\n", "4711\npid 815\n")).toBe(true);
  expect(isChance("4711\npid 4711\n", "4713\npid 815\n")).toBe(false);
});

it("takes times of the run without separators for times, and no others", () => {
  const at = (run: number, seconds: number) =>
    new Date(((START[run] ?? 0) + seconds) * 1000).toISOString().replace(/[-:]|\.000/g, "");
  const [a, b] = [at(0, 1), at(1, 2)];
  expect(isChance(`made ${a}\n`, `made ${b}\n`)).toBe(true);
  expect(isChance(`backup-${a.replace("T", "-")}`, `backup-${b.replace("T", "-")}`)).toBe(true);
  const plain = (text: string) => text.replace(/[TZ]/g, "");
  expect(isChance(`csn ${plain(a)}.123456Z#1`, `csn ${plain(b)}.654321Z#1`)).toBe(true);
  expect(isChance(`made ${a}\n`, `made ${at(1, 1000)}\n`)).toBe(false);
  // Of the logs of Chromium.
  const log = (time: string) => `[${time.slice(4, 8)}/${time.slice(9, 15)}.776159:ERROR:bus.cc]`;
  expect(isChance(log(a), log(b))).toBe(true);
  expect(isChance(log(a), log(at(1, 1000)))).toBe(false);
  expect(isChance("id 20150101101112\n", "id 20150101101113\n")).toBe(false);
});

it("takes no time or span out of what comes from outside", () => {
  expect(isChance("waited 5s\n", "waited 6s\n")).toBe(true);
  expect(isChance("timeout 5s\n", "timeout 6s\n", "outside")).toBe(false);
  expect(isChance("at=03:00:00\n", "at=04:00:00\n", "outside")).toBe(false);
});

it("knows process ids in binary data in both orders of bytes, each of the same process", () => {
  const pids = (pair: readonly number[], write: "writeUInt32LE" | "writeUInt32BE") =>
    messages((data, run) => void data[write](pair[run] ?? 0, 13));
  expect(isChance(...pids([4711, 815], "writeUInt32LE"))).toBe(true);
  expect(isChance(...pids([4712, 816], "writeUInt32BE"))).toBe(true);
  expect(isChance(...pids([4711, 816], "writeUInt32LE"))).toBe(false);
  expect(isChance(...pids([4711, 817], "writeUInt32LE"))).toBe(false);
  expect(isChance(...pids([4711, 815], "writeUInt32LE"), "outside")).toBe(false);
});

it("knows times of the run in binary data, and the nanoseconds behind them", () => {
  const times = (seconds: readonly number[], nanos: readonly number[]) =>
    messages((data, run) => {
      data.writeUInt32BE(seconds[run] ?? 0, 8);
      data.writeUInt32BE(nanos[run] ?? 0, 12);
    });
  expect(isChance(...times([1_790_000_001, 1_790_000_502], [17, 900_000_000]))).toBe(true);
  expect(isChance(...times([1_790_000_001, 1_790_000_001], [17, 18]))).toBe(false);
  expect(isChance(...times([1_700_000_001, 1_700_000_502], [17, 17]))).toBe(false);
  const micros = messages((data, run) => {
    data.writeBigUInt64LE(BigInt(((START[run] ?? 0) + 11_644_473_600) * 1e6 + 7), 16);
  });
  expect(isChance(...micros)).toBe(true);
  expect(chance("times").explains(...micros, "made", false)).toBe(false);
});

it("knows inodes in binary data that both runs were told of", () => {
  const inodes = (numbers: readonly number[]) =>
    messages((data, run) => void data.writeUInt32BE(numbers[run] ?? 0, 30));
  expect(isChance(...inodes(INODES))).toBe(true);
  expect(isChance(...inodes([10_741_022, 10_741_109]))).toBe(false);
});

it("knows addresses by the place in their page", () => {
  const addresses = (low: readonly bigint[]) =>
    messages((data, run) => {
      data.writeBigUInt64LE([0x7f01_2345_6000n, 0x7fa9_8765_4000n][run] ?? 0n, 24);
      data.writeBigUInt64LE(0x5566_0000_0000n + 0x1000n * BigInt(run) + (low[run] ?? 0n), 40);
    });
  expect(isChance(...addresses([0x10n, 0x10n]))).toBe(true);
  expect(isChance(...addresses([0x10n, 0x18n]))).toBe(false);
});

it("knows again what was drawn at random, and only that", () => {
  const own = chance();
  const draw = (seed: string) => createHash("sha256").update(seed).digest();
  const [a, b] = messages((data, run) => void draw(`made ${run}`).copy(data, 20));
  expect(own.explains(a, b, "inside", false)).toBe(false);
  expect(own.explains(a, b, "made", false)).toBe(true);
  expect(own.explains(a, b, "inside", false)).toBe(true);
  const [c, d] = messages((data, run) => void draw(`other ${run}`).copy(data, 20));
  expect(own.explains(c, d, "inside", false)).toBe(false);
  expect(own.explains(a, b, "outside", false)).toBe(false);
});

it("knows again what was made in two pieces and arrives in one", () => {
  const own = chance();
  const draw = (seed: string) => createHash("sha256").update(seed).digest();
  const pieces = ["one", "two"].map((piece) => [draw(`${piece} 0`), draw(`${piece} 1`)] as const);
  for (const [a, b] of pieces) expect(own.explains(a, b, "made", false)).toBe(true);
  const whole = [0, 1].map((run) => Buffer.concat(pieces.map((piece) => piece[run] ?? draw(""))));
  const [a = draw(""), b = draw("")] = whole;
  expect(own.explains(a, b, "inside", false)).toBe(true);
  const other = Buffer.concat([b.subarray(0, 32), draw("other")]);
  expect(own.explains(a, other, "inside", false)).toBe(false);
});

it("takes ids and sums in text for random, and no names", () => {
  const id = (seed: string) => createHash("md5").update(seed).digest("hex");
  expect(isChance(`guid=${id("a")}`, `guid=${id("b")}`)).toBe(true);
  expect(isChance(`guid=${id("a")}`, `guid=${id("b")}`, "outside")).toBe(false);
  expect(isChance(`guid=${id("a")} on`, `guid=${id("b")} off`)).toBe(false);
  const [first, second] = ["83b43ab63b8040dccb1172ad6b0abadc", "4c0698bc3588bd997a5ba4d46b0abadd"];
  expect(isChance(`guid=${first}`, `guid=${second}`)).toBe(true);
  expect(isChance("open /srv/Alpha7/Report1", "open /srv/Omega9/Summary")).toBe(false);
  expect(isChance("cookieAuthentication", "passwordEnforcements")).toBe(false);
});

it("believes a sum over what is chance, and none over anything else", () => {
  const summed = (second: readonly number[], last: readonly number[]) =>
    [0, 1].map((run) => {
      const data = Buffer.alloc(40, 7);
      data.writeUInt32BE(second[run] ?? 0, 4);
      data[30] = last[run] ?? 0;
      return Buffer.concat([data, createHash("sha1").update(data).digest()]);
    }) as [Buffer, Buffer];
  expect(isChance(...summed([1_790_000_001, 1_790_000_502], [1, 1]))).toBe(true);
  expect(isChance(...summed([1_790_000_001, 1_790_000_502], [1, 2]))).toBe(false);
});

it("knows temporary names in what is no text, besides times of the run", () => {
  const rules = new RuleSet();
  const [from, to] = [1_790_000_000, 1_790_000_003];
  const [a, b] = ["7pcbkuid", "vldl9t3v"].map((random) => {
    const facts = { rules, places: undefined, pids: new Set<string>(), from, to };
    const texts = new CanonicalTexts({ ...facts, ports: new Set(), ids: new Set() });
    texts.temporary = new Map([[`/tmp/${random}`, "/tmp/<temp>"]]);
    return { texts, processes: new Map(), inodes: new Set<number>(), from, to };
  });
  if (a === undefined || b === undefined) throw new Error("two sides");
  /** As python writes the source of a module, and its time, into what it compiles. */
  const compiled = (name: string, time: number) => {
    const data = Buffer.from(`\xa7\r\r\n\0\0\0\0\x81/tmp/${name}/six.py\0`, "latin1");
    data.writeUInt32LE(time, 4);
    return data;
  };
  const explains = (one: Buffer, other: Buffer) =>
    new Chance(rules, a, b).explains(one, other, "made", false);
  const first = compiled("7pcbkuid", from);
  expect(explains(first, compiled("vldl9t3v", to))).toBe(true);
  expect(explains(first, compiled("vldl9t3v", to + 1000))).toBe(false);
  expect(explains(first, compiled("elsewher", to))).toBe(false);
});
