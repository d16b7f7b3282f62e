/**
 * The evaluator of specs is held to what the kernel and the supervisor do: the same random grants and accesses are asked of
 * both. Each disagreement is a mistake in one of them.
 */

import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RoleEvaluator } from "../../src/spec/evaluate.js";
import type { Grant, PlainVerb, Role, Spec } from "../../src/spec/model.js";
import { compilePolicy } from "../../src/spec/policy.js";
import { attempt } from "../../src/spec/probes.js";

/** Pairs of a spec and an access; SPEC_PAIRS asks for more, and SPEC_SEED for others: pair n is drawn from seed SPEC_SEED + n. */
const PAIRS = Number(process.env.SPEC_PAIRS ?? 2000);
const SEED = Number(process.env.SPEC_SEED ?? 0);

let base = "";
const FILES = ["a", "b1", "b2", "dir/a", "dir/b1", "dir/sub/a", "dir/sub/b2", "cc.x"];

beforeAll(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "trace-kernel-")));
  mkdirSync(join(base, "dir/sub"), { recursive: true });
  for (const name of FILES) writeFileSync(join(base, name), "x");
  symlinkSync("a", join(base, "link"));
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
  "dir/*",
  "dir/**",
  "dir/sub/*",
  "**",
  "cc*",
  "*.x",
  "dir/sub/a",
  "link",
  "*/b1",
];
const VERBS: readonly PlainVerb[] = ["read", "write", "create", "exec", "stat"];

interface Access {
  readonly verbs: readonly PlainVerb[];
  readonly object: string;
  readonly attempt: Parameters<typeof attempt>[1];
}

function accessOf(random: (below: number) => number): Access {
  const name = FILES[random(FILES.length)] ?? "a";
  const path = join(base, name);
  const port = 1 + random(3);
  switch (random(5)) {
    case 0:
      // A file that is there is opened for writing, one that is not is made.
      return {
        verbs: ["write"],
        object: path,
        attempt: { kind: "write", path: Buffer.from(path) },
      };
    case 1:
      return {
        verbs: ["write", "create"],
        object: `${path}.new`,
        attempt: { kind: "write", path: Buffer.from(`${path}.new`) },
      };
    case 2:
      return {
        verbs: ["connect"],
        object: `tcp:127.0.0.1:${port}`,
        attempt: { kind: "connect", port },
      };
    case 3:
      return {
        verbs: ["connect"],
        object: `udp:127.0.0.1:${port}`,
        attempt: { kind: "datagram", port },
      };
    default: {
      const isLink = random(4) === 0;
      const named = isLink ? join(base, "link") : path;
      const object = isLink ? join(base, "a") : path;
      return { verbs: ["read"], object, attempt: { kind: "read", path: Buffer.from(named) } };
    }
  }
}

const CALLS = ["open", "openat", "socket", "connect", "sendto", "unlink"];

function specOf(random: (below: number) => number): Spec {
  const grants: Grant[] = CALLS.map((object) => ({ verb: "syscall", object }));
  for (const kind of ["socket(inet,stream,tcp)", "socket(inet,dgram,udp)"]) {
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
  const unique = [
    ...new Map(grants.map((grant) => [`${grant.verb} ${grant.object}`, grant])).values(),
  ];
  const role: Role = { name: "app", exe: ["/usr/bin/true"], from: [], grants: unique };
  return {
    traceSpec: 1,
    command: [],
    tokens: {},
    runs: [],
    roles: [role],
    channels: [],
    triggers: [],
    unknown: [],
  };
}

async function disagreement(
  seed: number,
  supervise: "always" | "never",
): Promise<string | undefined> {
  const random = generator(seed);
  const spec = specOf(random);
  const access = accessOf(random);
  const [role] = spec.roles;
  if (role === undefined) return "no role";
  const evaluator = new RoleEvaluator(role, {});
  const allowed = access.verbs.every(
    (verb) => evaluator.grantFor(verb, access.object) !== undefined,
  );
  const { policy } = compilePolicy(spec, { tokens: {}, supervise });
  const { denied, result } = await attempt(JSON.stringify(policy), access.attempt);
  // A policy without a supervisor is as wide as the spec or wider.
  const agrees = supervise === "always" ? denied !== allowed : !allowed || !denied;
  if (agrees) return undefined;
  const given = role.grants
    .filter(({ verb }) => verb !== "syscall")
    .map(({ verb, object }) => `${verb} ${object}`);
  return `seed ${seed}: ${access.verbs} ${access.object} is ${allowed ? "granted" : "not granted"}, and gave ${result}; grants: ${given.join(", ")}`;
}

async function disagreements(supervise: "always" | "never", count: number): Promise<string[]> {
  const found: string[] = [];
  for (let seed = SEED + 1; seed <= SEED + count; seed++) {
    // A write attempt removes what it made, and a file that it opened.
    for (const name of FILES) writeFileSync(join(base, name), "x");
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
