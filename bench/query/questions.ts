/** What is asked of the traces, and what each question took. */

import { execFileSync } from "node:child_process";
import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { median } from "../numbers.js";
import { type Taken, taken } from "../run.js";
import type { Place, Recorded } from "./recordings.js";

/** What writing a file of rows or events took, and how large it is. */
export interface Written extends Taken {
  readonly rows: number;
  readonly bytes: number;
}

/** A question that was answered. */
export interface Answered extends Taken {
  /** What part of the events it chose. */
  readonly share?: number;
}

/** A query over Parquet files, in this process. */
export interface RangeQuery {
  /** Milliseconds: median of user and system time, and of wall time. */
  readonly cpu: number;
  readonly wall: number;
  readonly share: number;
}

const LIMIT_MS = 3_600_000;

function trace({ tracers, base }: Place, words: readonly string[]): Promise<Taken> {
  return taken({ argv: [tracers.cli, ...words], dir: base, base, limitMs: LIMIT_MS });
}

/** The medians of time, the worst of memory. */
async function repeated(rounds: number, once: () => Promise<Taken>): Promise<Taken> {
  const all: Taken[] = [];
  for (let round = 0; round < rounds; round++) all.push(await once());
  return {
    wall: median(all.map(({ wall }) => wall)),
    cpu: median(all.map(({ cpu }) => cpu)),
    peakMiB: Math.max(...all.map(({ peakMiB }) => peakMiB)),
  };
}

export function stat(place: Place, { file }: Recorded, rounds: number): Promise<Answered> {
  return repeated(rounds, () => trace(place, ["stat", file]));
}

export function topFiles(place: Place, { file }: Recorded, rounds: number): Promise<Answered> {
  return repeated(rounds, () => trace(place, ["query", file, "@top-files"]));
}

/** The calls of the syscall that is nearest to one in a hundred events. */
export async function onePercent(
  place: Place,
  { file, events }: Recorded,
  rounds: number,
): Promise<Answered> {
  const json = execFileSync(place.tracers.cli, ["stat", file, "--format=json"], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  const { rows: calls } = JSON.parse(json) as { rows: readonly { name: string; calls: number }[] };
  const distance = (count: number) => Math.abs(count / events - 0.01);
  const [best] = [...calls].sort((a, b) => distance(a.calls) - distance(b.calls));
  if (best === undefined) throw new Error(`${file} has no calls`);
  const columns = "time,proc,name,ret,dur";
  const words = ["query", file, `name = ${best.name}`, "--columns", columns, "--format=csv"];
  const took = await repeated(rounds, () => trace(place, words));
  return { ...took, share: best.calls / events };
}

/** Bytes of a file, or of all files of a folder. */
function size(path: string): number {
  const found = statSync(path);
  if (!found.isDirectory()) return found.size;
  return readdirSync(path).reduce((sum, name) => sum + size(join(path, name)), 0);
}

/** Table `event` as Parquet; what is written stays. */
export async function parquet(place: Place, recorded: Recorded, name: string): Promise<Written> {
  const folder = join(place.base, name);
  const words = ["export", "--to=parquet", "--table=event", "--force", "-o", folder, recorded.file];
  const took = await trace(place, words);
  return { ...took, rows: await countRows(folder), bytes: size(folder) };
}

async function countRows(folder: string): Promise<number> {
  const { connection, close } = await connect();
  const rows = await connection.runAndReadAll(`SELECT count(*) FROM ${filesOf(folder)}`);
  close();
  return Number(rows.getRows()[0]?.[0]);
}

const filesOf = (folder: string) => `read_parquet('${folder}/event/*/*.parquet')`;

async function connect() {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  const close = () => {
    connection.closeSync();
    instance.closeSync();
  };
  return { connection, close };
}

/** One in a hundred of the recorded time, from the middle: the calls by name. */
export async function range(place: Place, name: string, rounds: number): Promise<RangeQuery> {
  const { connection, close } = await connect();
  const files = filesOf(join(place.base, name));
  const one = async (sql: string) => (await connection.runAndReadAll(sql)).getRows();
  const [[first, last, all] = []] = await one(
    `SELECT min(time), max(time), count(*) FROM ${files}`,
  );
  const [begin, end] = [Number(first), Number(last)];
  const from = Math.round(begin + (end - begin) * 0.5);
  const to = Math.round(from + (end - begin) * 0.01);
  const where = `FROM ${files} WHERE time BETWEEN ${from} AND ${to}`;
  const [[chosen] = []] = await one(`SELECT count(*) ${where}`);
  const [cpu, wall]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const [usage, time] = [process.cpuUsage(), process.hrtime.bigint()];
    await one(`SELECT name, count(*), sum(dur) ${where} GROUP BY name`);
    const { user, system } = process.cpuUsage(usage);
    cpu.push((user + system) / 1000);
    wall.push(Number(process.hrtime.bigint() - time) / 1e6);
  }
  close();
  return { cpu: median(cpu), wall: median(wall), share: Number(chosen) / Number(all) };
}

export async function perfetto(place: Place, { file, events }: Recorded): Promise<Written> {
  const out = join(place.base, "events.pftrace.gz");
  const took = await trace(place, ["export", "--to=perfetto", "--force", "-o", out, file]);
  const bytes = size(out);
  rmSync(out);
  return { ...took, rows: events, bytes };
}
