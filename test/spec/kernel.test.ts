/**
 * The evaluator of specs is held to what the kernel and the supervisor do: the same random grants and accesses are asked of
 * both. Each disagreement is a mistake in one of them.
 */

import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compilePolicy } from "../../src/spec/compile.js";
import { RoleEvaluator } from "../../src/spec/evaluate.js";
import {
  type Grant,
  PATH_VERBS,
  type PlainVerb,
  type Role,
  type Spec,
} from "../../src/spec/model.js";
import { attempt } from "../../src/spec/probes.js";
import { specWith } from "./support.js";

/** Pairs of a spec and an access; SPEC_PAIRS asks for more, and SPEC_SEED for others: pair n is drawn from seed SPEC_SEED + n. */
const PAIRS = Number(process.env.SPEC_PAIRS ?? 2000);
const SEED = Number(process.env.SPEC_SEED ?? 0);

let base = "";
const FILES = ["a", "b1", "b2", "dir/a", "dir/b1", "dir/sub/a", "dir/sub/b2", "cc.x"];
const DIRECTORIES = ["dir", "dir/sub", "dir/empty"];
/** Names that are not there. */
const NEW = ["new", "b3", "dir/new.x", "dir/sub/new", "dir/cc"];

/** What is there before each attempt. */
function layOut(): void {
  for (const name of readdirSync(base)) rmSync(join(base, name), { recursive: true, force: true });
  for (const name of DIRECTORIES) mkdirSync(join(base, name), { recursive: true });
  // Anybody may run them, but they are no programs.
  for (const name of FILES) writeFileSync(join(base, name), "x", { mode: 0o755 });
  symlinkSync("a", join(base, "link"));
}

beforeAll(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "trace-kernel-")));
});

afterAll(() => rmSync(base, { recursive: true, force: true }));

/** Numbers that look random and are the same in every run (mulberry32). */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const OBJECTS = [
  "a",
  "b1",
  "b*",
  "dir",
  "dir/*",
  "dir/**",
  "dir/sub/*",
  "**",
  "cc*",
  "*.x",
  "dir/sub/a",
  "dir/empty",
  "dir/new*",
  "link",
  "*/b1",
];
/** What is asked of paths; nothing is mounted. */
const VERBS = ([...PATH_VERBS] as PlainVerb[]).filter((verb) => verb !== "mount");
/** What is granted on an object by its name, and has not to grow when the object gets another one. */
const OF_OBJECTS: readonly PlainVerb[] = ["read", "write", "exec", "list", "stat", "chmeta"];

interface Access {
  /** All of it has to be granted. */
  readonly asks: readonly (readonly [verb: PlainVerb, object: string])[];
  /** The object gets another name, and so does all that it holds: names in it, from which nothing is different. */
  readonly moved?: {
    readonly from: string;
    readonly to: string;
    readonly within: readonly string[];
  };
  readonly attempt: Parameters<typeof attempt>[1];
}

/** Calls that name one object, with what they ask for. */
const SIMPLE: readonly (readonly [kind: string, verb: PlainVerb])[] = [
  ["read", "read"],
  ["write", "write"],
  ["truncate", "write"],
  ["exec", "exec"],
  ["look", "stat"],
  ["set-mode", "chmeta"],
  ["set-owner", "chmeta"],
  ["set-times", "chmeta"],
];
/** Calls that name what is not there yet. */
const MAKING: readonly (readonly [kind: string, verbs: readonly PlainVerb[]])[] = [
  ["write", ["write", "create"]],
  ["make-directory", ["create"]],
];
/** Names that some pattern tells from others. */
const WITHIN = ["a", "b1", "bz", "b2", "cc.x", "ccz", "z.x", "z", "new", "sub", "empty"];

function accessOf(random: (below: number) => number): Access {
  const pick = <T>(from: readonly T[]): T => from[random(from.length)] as T;
  const at = (name: string) => join(base, name);
  const port = 1 + random(3);
  const file = at(pick(FILES));
  const fresh = at(pick(NEW));
  switch (random(14)) {
    case 0: {
      const [kind, verbs] = pick(MAKING);
      const asks = verbs.map((verb) => [verb, fresh] as const);
      return { asks, attempt: { kind, path: Buffer.from(fresh) } };
    }
    case 1:
      return {
        asks: [["connect", `tcp:127.0.0.1:${port}`]],
        attempt: { kind: "connect", port },
      };
    case 2:
      return {
        asks: [["connect", `udp:127.0.0.1:${port}`]],
        attempt: { kind: "datagram", port },
      };
    case 3: {
      const kind = pick(["bind", "listen"] as const);
      const own = FREE_PORT + port;
      const verbs: readonly PlainVerb[] = kind === "bind" ? ["bind"] : ["bind", "listen"];
      const asks = verbs.map((verb) => [verb, `tcp:127.0.0.1:${own}`] as const);
      return { asks, attempt: { kind, port: own } };
    }
    case 4: {
      // What a link is called by is removed, and not what it leads to.
      const path = random(4) === 0 ? at("link") : file;
      return { asks: [["delete", path]], attempt: { kind: "remove", path: Buffer.from(path) } };
    }
    case 5: {
      const path = at("dir/empty");
      return {
        asks: [["delete", path]],
        attempt: { kind: "remove-directory", path: Buffer.from(path) },
      };
    }
    case 6: {
      const directory = random(3) === 0 ? at(pick(["dir/sub", "dir/empty"])) : undefined;
      const from = directory ?? (random(6) === 0 ? at("link") : file);
      const to = directory === undefined && random(2) === 0 ? at(pick(FILES)) : fresh;
      if (to.startsWith(`${from}/`)) return accessOf(random);
      const deep = WITHIN.flatMap((name) => [name, ...WITHIN.map((other) => `${name}/${other}`)]);
      return {
        asks: [
          ["rename", from],
          ["rename", to],
        ],
        moved: { from, to, within: directory === undefined ? [] : deep },
        attempt: { kind: "rename", path: Buffer.from(from), to: Buffer.from(to) },
      };
    }
    case 7:
      return {
        asks: [
          ["write", file],
          ["create", fresh],
        ],
        moved: { from: file, to: fresh, within: [] },
        attempt: { kind: "link", path: Buffer.from(file), to: Buffer.from(fresh) },
      };
    case 8: {
      const kind = pick(["bind-path", "connect-path"] as const);
      const path = kind === "bind-path" ? fresh : file;
      const verb = kind === "bind-path" ? "bind" : "connect";
      return { asks: [[verb, `unix:${path}`]], attempt: { kind, path: Buffer.from(path) } };
    }
    case 9: {
      const [kind, object] = pick([
        ["signal-self", "self"],
        ["signal-group", "group"],
        ["signal-parent", "outside"],
      ] as const);
      return { asks: [["signal", object]], attempt: { kind } };
    }
    case 10: {
      const path = at(pick(DIRECTORIES));
      return { asks: [["list", path]], attempt: { kind: "list", path: Buffer.from(path) } };
    }
    default: {
      const [kind, verb] = pick(SIMPLE);
      const isLink = random(4) === 0;
      const named = isLink ? at("link") : file;
      const object = isLink ? at("a") : file;
      return { asks: [[verb, object]], attempt: { kind, path: Buffer.from(named) } };
    }
  }
}

/** Nothing listens at this port and the next ones. */
const FREE_PORT = 47_100;

const CALLS = (
  "open openat socket connect sendto bind listen unlink rmdir rename link mkdir truncate chmod chown utimensat stat " +
  "newfstatat execve kill getpid getppid"
).split(" ");

/** Grants at random; what is asked for is granted more often than by chance. */
function specOf(random: (below: number) => number, { asks }: Access): Spec {
  const grants: Grant[] = CALLS.map((object) => ({ verb: "syscall", object }));
  for (const kind of [
    "socket(inet,stream,tcp)",
    "socket(inet,dgram,udp)",
    "socket(unix,stream,0)",
  ]) {
    grants.push({ verb: "syscall", object: kind });
  }
  for (let k = random(6); k >= 0; k--) {
    const verb = VERBS[random(VERBS.length)] ?? "read";
    grants.push({ verb, object: `${base}/${OBJECTS[random(OBJECTS.length)]}` });
  }
  const hosts = [
    "tcp:127.0.0.1:1",
    "tcp:*:2",
    "tcp:127.0.0.1:*",
    "udp:127.0.0.1:1",
    "udp:*:*",
    "tcp:10.0.0.1:3",
  ];
  for (let k = random(3); k > 0; k--) {
    grants.push({ verb: "connect", object: hosts[random(hosts.length)] ?? "" });
  }
  for (let k = random(3); k > 0; k--) {
    const verb = (["bind", "listen"] as const)[random(2)] ?? "bind";
    const ports = [`127.0.0.1:${FREE_PORT + 1}`, `*:${FREE_PORT + 2}`, "127.0.0.1:*"];
    grants.push({ verb, object: `tcp:${ports[random(ports.length)]}` });
  }
  for (let k = random(2); k > 0; k--) {
    const verb = (["bind", "connect"] as const)[random(2)] ?? "bind";
    grants.push({ verb, object: `unix:${base}/${OBJECTS[random(OBJECTS.length)]}` });
  }
  if (random(3) === 0) {
    const whom = ["self", "group", "outside", "any"];
    grants.push({ verb: "signal", object: whom[random(whom.length)] ?? "self" });
  }
  const isGranted = random(3) > 0;
  for (const [verb, object] of isGranted ? asks : []) {
    const wider = PATH_VERBS.has(verb) ? [`${dirname(object)}/*`, `${base}/**`, object] : [object];
    grants.push({ verb, object: wider[random(wider.length)] ?? object });
  }
  const unique = [
    ...new Map(grants.map((grant) => [`${grant.verb} ${grant.object}`, grant])).values(),
  ];
  const role: Role = { name: "app", exe: ["/usr/bin/true"], from: [], grants: unique };
  return specWith(role);
}

async function disagreement(
  seed: number,
  supervise: "always" | "never",
): Promise<string | undefined> {
  const random = generator(seed);
  const access = accessOf(random);
  const spec = specOf(random, access);
  const [role] = spec.roles;
  if (role === undefined) return "no role";
  const evaluator = new RoleEvaluator(role, {});
  const may = (verb: PlainVerb, object: string) => evaluator.grantFor(verb, object) !== undefined;
  const allowed = access.asks.every(([verb, object]) => may(verb, object));
  const expected = !allowed ? "refused" : gains(access.moved, may) ? "kept apart" : "done";
  const { policy } = compilePolicy(spec, { tokens: {}, supervise });
  const { denied, result } = await attempt(JSON.stringify(policy), access.attempt);
  const found = denied ? "refused" : result === "EXDEV" ? "kept apart" : "done";
  // A policy without a supervisor is as wide as the spec or wider, but for what is moved (Landlock knows whole directories).
  const agrees =
    found === expected ||
    (supervise === "never" &&
      (expected !== "done" || (access.moved !== undefined && found === "kept apart")));
  if (agrees) return undefined;
  const given = role.grants
    .filter(({ verb }) => verb !== "syscall")
    .map(({ verb, object }) => `${verb} ${object}`);
  const { kind } = access.attempt;
  return `seed ${seed}: ${kind} ${access.asks.join(" and ")} should be ${expected}, and gave ${result}; grants: ${given.join(", ")}`;
}

/** Whether an object would be open to more under its new name. */
function gains(moved: Access["moved"], may: (verb: PlainVerb, object: string) => boolean): boolean {
  if (moved === undefined) return false;
  const { from, to, within } = moved;
  const pairs = [
    [from, to] as const,
    ...within.map((name) => [`${from}/${name}`, `${to}/${name}`] as const),
  ];
  return pairs.some(([old, name]) => OF_OBJECTS.some((verb) => may(verb, name) && !may(verb, old)));
}

async function disagreements(supervise: "always" | "never", count: number): Promise<string[]> {
  const found: string[] = [];
  for (let seed = SEED + 1; seed <= SEED + count; seed++) {
    layOut();
    const what = await disagreement(seed, supervise);
    if (what !== undefined) found.push(what);
  }
  return found;
}

describe("the evaluator and the kernel", () => {
  it(`agree on ${PAIRS} random pairs of a spec and an access`, { timeout: 600_000 }, async () => {
    expect(await disagreements("always", PAIRS)).toEqual([]);
  });

  it("what is granted is possible without a supervisor, too", { timeout: 600_000 }, async () => {
    expect(await disagreements("never", PAIRS >> 2)).toEqual([]);
  });
});
