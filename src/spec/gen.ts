/** Recordings to a spec: the union of what their programs did, role by role, with where each grant comes from. */

import { basename } from "node:path";
import type { Trace } from "../trace/trace.js";
import type { InheritedDescriptor, ObservedChannel } from "./channels.js";
import { Collector, type Observation, type ObservedRole } from "./collect.js";
import {
  Climber,
  DEFAULT_LADDER,
  type Draft,
  firstRung,
  type Ladder,
  makesName,
} from "./generalise.js";
import { fewestLinks } from "./links.js";
import { madeUpForm } from "./made_up.js";
import { changesOfMade } from "./metadata.js";
import {
  type Channel,
  type Grant,
  isPathVerb,
  type Limits,
  type Phase,
  type Probe,
  type Role,
  type RoleDescriptor,
  type Run,
  SPEC_VERSION,
  type Spec,
  type Trigger,
  type Verb,
} from "./model.js";
import { gainedByMoves, type Move, movesOf } from "./moves.js";
import { namesAdded } from "./names_added.js";
import {
  aliasesOf,
  companionsOf,
  IN_PLACE_OF_RINGS,
  NEEDED,
  READ_BY_THREADS,
  WITHHELD,
} from "./needed.js";
import { MAX_OBJECT } from "./object.js";
import { sortedGrants } from "./order.js";
import { INIT, SERVE } from "./phases.js";
import { choosesPort } from "./ports.js";
import { argvShape, identityName } from "./roles.js";
import { agreedStamps, type Stamps } from "./stamps.js";
import { expanded, type Tokens, tokenised, tokensOfRun } from "./tokens.js";

export interface GenOptions {
  readonly ladder?: Ladder;
}

/** What is known of one role over all runs. */
interface RoleDraft {
  readonly key: string;
  readonly exe: string;
  readonly script: string | undefined;
  readonly name: string;
  readonly from: Set<string>;
  readonly lines: (readonly string[])[];
  readonly drafts: Map<string, Draft>;
  readonly probes: Map<string, { probe: Probe; count: number }>;
  readonly replaced: Set<string>;
  readonly moves: Move[];
  readonly starts: Map<string, number>;
  /** By number; of files by their paths as well. */
  readonly descriptors: Map<string, RoleDescriptor>;
  processes: number;
  threads: number;
  memory: number;
  serves: boolean;
  /** It set an io_uring up, which it will do without. */
  usesRings: boolean;
}

/** @throws TraceError when a trace cannot be read */
export async function generate(traces: readonly Trace[], options: GenOptions = {}): Promise<Spec> {
  const generator = new Generator(options.ladder ?? DEFAULT_LADDER, traces.length);
  for (const trace of traces) generator.add(trace, await Collector.read(trace));
  return generator.spec();
}

class Generator {
  readonly #ladder: Ladder;
  readonly #total: number;
  readonly #runs: Run[] = [];
  readonly #roles = new Map<string, RoleDraft>();
  readonly #names = new Set<string>();
  readonly #channels = new Map<string, Channel>();
  readonly #unknown = new Set<string>();
  readonly #links = new Map<string, string>();
  /** By object and run, the stamps of a name. */
  readonly #stamps = new Map<string, Map<number, Stamps>>();
  #tokens: Tokens = {};
  #command: readonly string[] = [];

  constructor(ladder: Ladder, total: number) {
    this.#ladder = ladder;
    this.#total = total;
  }

  add(trace: Trace, seen: Observation): void {
    const number = this.#runs.length + 1;
    const { info } = trace;
    const kernel = info.facts.get("kernel");
    this.#runs.push({
      trace: info.id,
      file: trace.path,
      command: info.command,
      events: trace.eventCount,
      ...(kernel !== undefined && { kernel }),
    });
    const tokens = tokensOfRun(seen);
    if (number === 1) {
      this.#tokens = tokens;
      this.#command = info.command;
    }
    for (const line of seen.unknown) this.#unknown.add(line);
    for (const [name, to] of seen.links)
      this.#links.set(tokenised(name, tokens), tokenised(to, tokens));
    for (const [path, stamps] of seen.stamps) {
      const { object } = firstRung({ verb: "create", object: path }, tokens);
      const runs = this.#stamps.get(object) ?? new Map<number, Stamps>();
      this.#stamps.set(object, runs.set(number, stamps));
    }
    // By the key of this run's role: paths below $PWD differ from run to run.
    const keys = new Map<string, RoleDraft>();
    const made = madeBy(seen, tokens);
    for (const role of seen.roles.values()) keys.set(role.key, this.#role(role, tokens, made));
    for (const role of seen.roles.values()) this.#merge(role, number, tokens, keys);
    const named = new Map(
      seen.channels.map((channel) => [channel, this.#channel(channel, keys)] as const),
    );
    for (const { key } of seen.roles.values()) {
      const role = keys.get(key);
      if (role === undefined) continue;
      for (const descriptor of seen.inherited(key))
        this.#descriptor(role, descriptor, tokens, named);
    }
  }

  /**
   * `made`: what this run's programs have made. A program or a script with a name that is new in each run could not be found
   * again by it.
   */
  #role(seen: ObservedRole, tokens: Tokens, made: ReadonlySet<string>): RoleDraft {
    const plain = firstRung({ verb: "exec", object: seen.identity.exe }, tokens).object;
    const form = madeUpForm(plain, made);
    const exe = form ?? plain;
    const own =
      seen.identity.script === undefined ? undefined : tokenised(seen.identity.script, tokens);
    const isNew = own !== undefined && madeUpForm(own, made) !== undefined;
    const script = isNew ? undefined : own;
    const identity = {
      exe: form ?? seen.identity.exe,
      script: isNew ? undefined : seen.identity.script,
    };
    const hasName = form === undefined || basename(form) === basename(plain);
    const key = `${exe}\0${script ?? ""}`;
    let role = this.#roles.get(key);
    if (role === undefined) {
      role = {
        key,
        exe,
        script,
        name: this.#freeName(identityName(identity, hasName ? seen.lines[0]?.[0] : undefined)),
        from: new Set(),
        lines: [],
        drafts: new Map(),
        probes: new Map(),
        replaced: new Set(),
        moves: [],
        starts: new Map(),
        descriptors: new Map(),
        processes: 0,
        threads: 0,
        memory: 0,
        serves: false,
        usesRings: false,
      };
      this.#roles.set(key, role);
    }
    if (form !== undefined)
      this.#unknown.add(
        `${role.name} is made anew in each run: any other program that is made as ${form} may do what it does`,
      );
    if (isNew)
      this.#unknown.add(
        `${role.name} runs scripts whose names are new in each run: any other script that it runs may do what these do`,
      );
    return role;
  }

  /** Names are words of the spec: what could be taken for something else in them is replaced. */
  #freeName(wanted: string): string {
    const base = wanted.replace(/[^\w.:+-]/g, "_").slice(0, 60);
    let name = base;
    for (let n = 2; this.#names.has(name); n++) name = `${base}-${n}`;
    this.#names.add(name);
    return name;
  }

  #merge(
    seen: ObservedRole,
    run: number,
    tokens: Tokens,
    keys: ReadonlyMap<string, RoleDraft>,
  ): void {
    const role = keys.get(seen.key);
    if (role === undefined) return;
    for (const key of seen.from) {
      const from = keys.get(key);
      if (from !== undefined) role.from.add(from.name);
    }
    role.lines.push(...seen.lines);
    role.processes = Math.max(role.processes, seen.processes);
    role.threads = Math.max(role.threads, seen.threads);
    role.memory = Math.max(role.memory, seen.memory);
    role.serves ||= seen.serves;
    const named = (object: string) =>
      object.replace(/^role (.*)$/s, (_, key: string) => `role:${keys.get(key)?.name ?? "?"}`);
    for (const { verb, object: plain, count, first, phases } of seen.accesses.values()) {
      if (verb === "syscall" && WITHHELD.has(plain)) {
        role.usesRings = true;
        continue;
      }
      const { object, rung } = firstRung({ verb, object: named(plain) }, tokens);
      const key = `${verb} ${object}`;
      const known = role.drafts.get(key);
      if (known === undefined) {
        const draft: Draft = {
          verb,
          object,
          rung,
          because: undefined,
          count,
          runs: new Set([run]),
          first: `${run}@${first}`,
          phases,
        };
        role.drafts.set(key, draft);
      } else {
        known.count += count;
        known.phases |= phases;
        known.runs.add(run);
      }
    }
    for (const path of seen.replaced)
      role.replaced.add(firstRung({ verb: "rename", object: path }, tokens).object);
    role.moves.push(...movesOf(seen, role.drafts, tokens));
    for (const [start, count] of seen.starts) {
      const name = start.replace(
        /^exec (.*)$/s,
        (_, key: string) => `exec ${keys.get(key)?.name ?? "?"}`,
      );
      role.starts.set(name, (role.starts.get(name) ?? 0) + count);
    }
    this.#probes(role, seen, tokens, named);
  }

  #probes(
    role: RoleDraft,
    seen: ObservedRole,
    tokens: Tokens,
    named: (object: string) => string,
  ): void {
    for (const { verb, object: plain, error, count } of seen.probes.values()) {
      const { object } = firstRung({ verb, object: named(plain) }, tokens);
      // Nothing has a name that is longer, nor could it be granted.
      if (object.length > MAX_OBJECT) continue;
      const key = `${verb} ${object} ${error}`;
      const known = role.probes.get(key);
      if (known !== undefined) known.count += count;
      else role.probes.set(key, { probe: { verb, object, error }, count });
    }
  }

  #descriptor(
    role: RoleDraft,
    { fd, object, channel, uses }: InheritedDescriptor,
    tokens: Tokens,
    named: ReadonlyMap<ObservedChannel, string>,
  ): void {
    const standard = object.createdBy < 0 ? ["stdin", "stdout", "stderr"][fd] : undefined;
    const path = object.path.startsWith("/") ? ` ${tokenised(object.path, tokens)}` : "";
    const is = standard ?? (channel && named.get(channel)) ?? `${object.kind}${path}`;
    const key = path === "" ? `${fd}` : `${fd} ${is}`;
    const known = role.descriptors.get(key);
    const use = [...new Set([...(known?.use ?? []), ...uses])].sort() as RoleDescriptor["use"];
    role.descriptors.set(key, { fd, is: known?.is ?? is, use });
  }

  /** Its name. */
  #channel(seen: ObservedChannel, keys: ReadonlyMap<string, RoleDraft>): string {
    const names = (of: ReadonlySet<string>) =>
      [...of].flatMap((key) => keys.get(key)?.name ?? []).sort();
    const writers = names(seen.writers);
    const readers = names(seen.readers);
    const key = [seen.kind, seen.at ?? "", ...writers, "->", ...readers].join(" ");
    const known = this.#channels.get(key);
    const name = known?.name ?? `${seen.kind}${this.#channels.size + 1}`;
    this.#channels.set(key, {
      name,
      kind: seen.kind,
      writers,
      readers,
      ...(seen.at !== undefined && { at: seen.at }),
      ...((seen.passes || known?.passes === true) && { passes: true }),
    });
    return name;
  }

  spec(): Spec {
    const choosesPorts = [...this.#roles.values()].some(({ drafts }) =>
      [...drafts.values()].some(choosesPort),
    );
    const replaced = new Set([...this.#roles.values()].flatMap((role) => [...role.replaced]));
    const climber = new Climber(
      this.#tokens,
      this.#ladder,
      this.#total,
      choosesPorts,
      agreedStamps(this.#stamps),
    );
    const drafts = [...this.#roles.values()];
    const climbed = climber.climb(
      drafts.map((role) => [...role.drafts.values()]),
      replaced,
    );
    const roles = drafts.map((role, k) => {
      const plain = climbed[k] ?? [];
      const own = [...plain, ...changesOfMade(plain)];
      return this.#finish(role, [...own, ...gainedByMoves(role.moves, own, this.#tokens)]);
    });
    const channels = [...this.#channels.values()];
    const paths = climbed.flat().filter(({ verb }) => isPathVerb(verb));
    const links = fewestLinks(
      this.#links,
      paths.map(({ object }) => object),
    );
    return {
      traceSpec: SPEC_VERSION,
      command: this.#command,
      tokens: this.#tokens,
      runs: this.#runs,
      roles,
      channels,
      triggers: [...this.#roles.values()].flatMap((role) => triggersOf(role, channels)),
      ...(links.length > 0 && { links }),
      unknown: [...this.#unknown, ...climber.remarks],
    };
  }

  #finish(role: RoleDraft, drafts: readonly Draft[]): Role {
    const calls = new Set(
      drafts.filter(({ verb }) => verb === "syscall").map(({ object }) => object),
    );
    const isSplit = role.serves && drafts.some(({ phases }) => phases === SERVE);
    const usedBy = this.#usedBy(drafts);
    const used = role.usesRings ? new Set([...calls, ...IN_PLACE_OF_RINGS]) : calls;
    const others = [...used, ...aliasesOf(used)].filter((name) => !calls.has(name));
    const grants = [
      ...drafts.map((draft) => this.#grant(draft, isSplit, usedBy.get(draft.verb))),
      ...others.map((object) => added(object, "alias")),
    ];
    const granted = new Set([...calls, ...others]);
    const begun = new Set([...granted, ...companionsOf(granted)]);
    const needed = new Set([...begun, ...aliasesOf(begun), ...NEEDED]);
    grants.push(
      ...[...needed].filter((name) => !granted.has(name)).map((name) => added(name, "needed")),
    );
    const reads = usedBy.get("read");
    if (role.threads > 0 && usesGlibc(drafts) && reads?.has(READ_BY_THREADS) !== true)
      grants.push({ verb: "read", object: READ_BY_THREADS, because: "needed" });
    // Who aborts, or ends as a signal would have ended it, sends that to itself; to whom, tgkill does not tell.
    if (usedBy.get("signal")?.has("self") !== true)
      grants.push({ verb: "signal", object: "self", because: "needed" });
    const probes = [...role.probes.values()].map(({ probe, count }) => ({ ...probe, count }));
    const limits: Limits = {
      processes: role.processes,
      ...(role.threads > 0 && { threads: role.threads }),
      ...(role.memory > 0 && { memory: role.memory }),
    };
    return {
      name: role.name,
      exe: [role.exe],
      ...(role.script !== undefined && { script: role.script }),
      argv: argvShape(role.lines),
      from: [...role.from].sort(),
      ...(role.serves && { serves: true }),
      ...(role.descriptors.size > 0 && { descriptors: [...role.descriptors.values()] }),
      limits,
      grants: sortedGrants(grants),
      ...(probes.length > 0 && { probes: sortedGrants(probes) }),
    };
  }

  /** What a role used by each verb. */
  #usedBy(drafts: readonly Draft[]): ReadonlyMap<Verb, ReadonlySet<string>> {
    const found = new Map<Verb, Set<string>>();
    for (const { verb, object, used = [object] } of drafts) {
      const own = found.get(verb) ?? new Set();
      for (const one of used) own.add(expanded(one, this.#tokens));
      found.set(verb, own);
    }
    return found;
  }

  /** `used`: by its verb. */
  #grant(draft: Draft, isSplit: boolean, used: ReadonlySet<string> = new Set()): Grant {
    const { verb, object, count, runs, first, rung, because, phases } = draft;
    const phase: Phase | undefined =
      phases === INIT ? "init" : phases === SERVE ? "serve" : undefined;
    const adds =
      rung === "sibling" || rung === "directory"
        ? namesAdded(expanded(object, this.#tokens), used)
        : undefined;
    return {
      verb,
      object,
      count,
      runs: [...runs].sort((a, b) => a - b),
      first,
      ...(rung !== "literal" && { rung }),
      ...(adds !== undefined && { adds }),
      ...(because !== undefined && { because }),
      // Calls are granted for the whole life: a library may make any of them at any time.
      ...(isSplit && phase !== undefined && verb !== "syscall" && { phase }),
    };
  }
}

function usesGlibc(drafts: readonly Draft[]): boolean {
  return drafts.some(({ object }) => object.endsWith("/libc.so.6"));
}

/** The objects that the programs of a run have made, by create and rename. */
function madeBy({ roles }: Observation, tokens: Tokens): ReadonlySet<string> {
  const accesses = [...roles.values()].flatMap((role) => [...role.accesses.values()]);
  return new Set(accesses.filter(makesName).map((access) => firstRung(access, tokens).object));
}

function added(object: string, because: "alias" | "needed"): Grant {
  return { verb: "syscall", object, because };
}

function triggersOf(role: RoleDraft, channels: readonly Channel[]): Trigger[] {
  const triggers: Trigger[] = [];
  for (const start of [...role.starts.keys()].sort()) {
    const [on = "", of] = start.split(/ (.*)/s);
    if (on === "launch") triggers.push({ role: role.name, on });
    else if (on === "exec" && of !== undefined) triggers.push({ role: role.name, on, of });
    else if (on === "message" || on === "connection" || on === "descriptor") {
      const through = channels.find(({ kind, readers, passes }) => {
        if (!role.from.has(readers[0] ?? "") && !readers.some((name) => role.from.has(name)))
          return false;
        if (on === "connection") return kind === "listener";
        return on === "descriptor" ? passes === true : kind === "pipe";
      });
      triggers.push({ role: role.name, on, ...(through !== undefined && { of: through.name }) });
    }
  }
  return triggers;
}
