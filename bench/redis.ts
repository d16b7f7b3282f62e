/** How many requests a recorded Redis answers: the server is recorded, its clients are not. */

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { ENVIRONMENT, which } from "./environment.js";
import { median } from "./numbers.js";
import { RunError, wallTime } from "./run.js";
import { commandLine, type Mode, type Tracers } from "./tracers.js";

export const REDIS_PROGRAMS = ["redis-server", "redis-benchmark", "redis-cli"];
const CLIENTS = 10;
const REQUESTS = 200_000;
/** What strace is given: it answers some twenty times fewer. */
const SHORT_REQUESTS = 10_000;
const TRACED = ["record", "observe", "paths", "strace"] as const;
type Way = "native" | (typeof TRACED)[number];
const UP_TRIES = 400;

/** Requests per second under each tracer, of those that it answers alone. */
export type Redis = Readonly<Record<(typeof TRACED)[number], number>>;

export async function measureRedis(
  tracers: Tracers,
  base: string,
  { rounds, scale }: { readonly rounds: number; readonly scale: number },
): Promise<Redis> {
  const ways: readonly Way[] = ["native", ...TRACED];
  const rates = new Map<Way, number[]>(ways.map((way) => [way, []]));
  for (let round = 0; round < rounds; round++) {
    for (let k = 0; k < ways.length; k++) {
      const way = ways[(round + k) % ways.length] ?? "native";
      const requests = (way === "strace" ? SHORT_REQUESTS : REQUESTS) * scale;
      rates.get(way)?.push(await rate(way, tracers, base, Math.max(1000, Math.round(requests))));
    }
  }
  const of = (way: Way): number => median(rates.get(way) ?? []);
  const parts = TRACED.map((way): [string, number] => [way, of(way) / of("native")]);
  return Object.fromEntries(parts) as unknown as Redis;
}

/** Requests per second of one run. */
async function rate(way: Mode, tracers: Tracers, base: string, requests: number): Promise<number> {
  const dir = join(base, "redis");
  mkdirSync(dir);
  const port = String(await freePort());
  const plain = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  const server = [which("redis-server") ?? "redis-server", ...plain, "--dir", dir];
  const ended = wallTime({ argv: commandLine(way, tracers, dir, server), dir, base });
  // A server that ends early is told of below.
  ended.catch(() => {});
  try {
    await isUp(port);
    const load = ["-p", port, "-c", String(CLIENTS), "-n", String(requests), "-t", "set,get"];
    return requestsPerSecond(ask("redis-benchmark", [...load, "--csv"]));
  } finally {
    ask("redis-cli", ["-p", port, "shutdown", "nosave"]);
    await ended;
    rmSync(dir, { recursive: true, force: true });
  }
}

function ask(program: string, args: readonly string[]): string {
  try {
    return execFileSync(program, args, { encoding: "utf8", env: ENVIRONMENT, stdio: "pipe" });
  } catch (error) {
    throw new RunError(`${program}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function isUp(port: string): Promise<void> {
  for (let left = UP_TRIES; ; left--) {
    try {
      if (ask("redis-cli", ["-p", port, "ping"]).includes("PONG")) return;
    } catch (error) {
      if (left === 0) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** The mean of the rows of `redis-benchmark --csv`: a name, then the rate, both in quotes. */
function requestsPerSecond(csv: string): number {
  const rates = [...csv.matchAll(/^"(?:SET|GET)[^"]*","([\d.]+)"/gm)].map(([, text]) =>
    Number(text),
  );
  if (rates.length === 0) throw new RunError(`redis-benchmark said no rate: ${csv.slice(0, 200)}`);
  return rates.reduce((sum, one) => sum + one, 0) / rates.length;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
