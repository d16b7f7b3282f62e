/** Several specs of one program as one: everything that any of them grants. */

import type { Channel, Grant, Probe, Role, Spec } from "./model.js";
import { sortedGrants } from "./order.js";

export function mergeSpecs(specs: readonly Spec[]): Spec {
  const [first, ...others] = specs;
  if (first === undefined) throw new RangeError("nothing to merge");
  return others.reduce(mergeTwo, first);
}

function mergeTwo(one: Spec, other: Spec): Spec {
  const offset = one.runs.length;
  // Roles of the other spec by the names that they get here.
  const names = new Map<string, string>();
  for (const role of other.roles) {
    const same = one.roles.find((candidate) => isSame(candidate, role));
    names.set(role.name, same?.name ?? freeName(role.name, one.roles));
  }
  const renamed = other.roles.map((role) => renameRole(role, names, offset));
  const roles = one.roles.map((role) => {
    const twin = renamed.find((candidate) => isSame(candidate, role));
    return twin === undefined ? role : mergeRoles(role, twin);
  });
  const fresh = renamed.filter((role) => !one.roles.some((own) => isSame(own, role)));
  const channels = mergeChannels(one.channels, other.channels, names);
  const triggers = [
    ...one.triggers,
    ...other.triggers.map((trigger) => ({
      ...trigger,
      role: names.get(trigger.role) ?? trigger.role,
      ...(trigger.of !== undefined && { of: names.get(trigger.of) ?? trigger.of }),
    })),
  ];
  return {
    ...one,
    tokens: { ...other.tokens, ...one.tokens },
    runs: [...one.runs, ...other.runs],
    roles: [...roles, ...fresh],
    channels,
    triggers: unique(triggers, ({ role, on, of }) => `${role} ${on} ${of}`),
    ...(one.links || other.links
      ? { links: unique([...(other.links ?? []), ...(one.links ?? [])], ({ name }) => name) }
      : {}),
    unknown: [...new Set([...one.unknown, ...other.unknown])],
  };
}

function isSame(one: Role, other: Role): boolean {
  return one.script === other.script && one.exe.some((exe) => other.exe.includes(exe));
}

function freeName(wanted: string, roles: readonly Role[]): string {
  let name = wanted;
  for (let n = 2; roles.some((role) => role.name === name); n++) name = `${wanted}-${n}`;
  return name;
}

function unique<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}

function renameRole(role: Role, names: ReadonlyMap<string, string>, offset: number): Role {
  const named = (object: string) =>
    object.replace(/^role:(.*)$/, (whole, name: string) =>
      names.has(name) ? `role:${names.get(name)}` : whole,
    );
  return {
    ...role,
    name: names.get(role.name) ?? role.name,
    from: role.from.map((name) => names.get(name) ?? name),
    grants: role.grants.map((grant) => ({
      ...grant,
      object: named(grant.object),
      ...(grant.runs && { runs: grant.runs.map((run) => run + offset) }),
      ...(grant.first !== undefined && { first: shifted(grant.first, offset) }),
    })),
  };
}

function shifted(first: string, offset: number): string {
  const [run = "1", seq = "0"] = first.split("@");
  return `${Number(run) + offset}@${seq}`;
}

function mergeRoles(one: Role, other: Role): Role {
  const limit = (key: "processes" | "threads" | "memory") =>
    Math.max(one.limits?.[key] ?? 0, other.limits?.[key] ?? 0);
  const probes = [...(one.probes ?? []), ...(other.probes ?? [])];
  return {
    ...one,
    exe: [...new Set([...one.exe, ...other.exe])],
    from: [...new Set([...one.from, ...other.from])].sort(),
    ...((one.serves || other.serves) && { serves: true }),
    limits: {
      processes: limit("processes"),
      ...(limit("threads") > 0 && { threads: limit("threads") }),
      ...(limit("memory") > 0 && { memory: limit("memory") }),
    },
    grants: mergeGrants([...one.grants, ...other.grants]),
    ...(probes.length > 0 && {
      probes: sortedGrants(
        unique<Probe>(probes, ({ verb, object, error }) => `${verb} ${object} ${error}`),
      ),
    }),
  };
}

function mergeGrants(grants: readonly Grant[]): Grant[] {
  const found = new Map<string, Grant>();
  for (const grant of grants) {
    const key = `${grant.verb} ${grant.object}`;
    const known = found.get(key);
    found.set(key, known === undefined ? grant : bothGrants(known, grant));
  }
  return sortedGrants([...found.values()]);
}

/** What was seen is no longer there only because of another reason; two phases are the whole life. */
function bothGrants(one: Grant, other: Grant): Grant {
  const { phase, because, ...rest } = one;
  const count = (one.count ?? 0) + (other.count ?? 0);
  const runs = [...new Set([...(one.runs ?? []), ...(other.runs ?? [])])];
  const first = one.first ?? other.first;
  return {
    ...rest,
    ...(count > 0 && { count }),
    ...(runs.length > 0 && { runs }),
    ...(first !== undefined && { first }),
    ...(because !== undefined && because === other.because && { because }),
    ...(phase !== undefined && phase === other.phase && { phase }),
  };
}

function mergeChannels(
  one: readonly Channel[],
  other: readonly Channel[],
  names: ReadonlyMap<string, string>,
): Channel[] {
  const named = (list: readonly string[]) => list.map((name) => names.get(name) ?? name).sort();
  const key = ({ kind, at, writers, readers }: Channel) =>
    [kind, at ?? "", ...writers, "->", ...readers].join(" ");
  const known = new Set(one.map(key));
  const taken = new Set(one.map(({ name }) => name));
  const fresh: Channel[] = [];
  for (const channel of other) {
    const moved = { ...channel, writers: named(channel.writers), readers: named(channel.readers) };
    if (known.has(key(moved))) continue;
    let name = channel.name;
    for (let n = 2; taken.has(name); n++) name = `${channel.kind}${one.length + n}`;
    taken.add(name);
    fresh.push({ ...moved, name });
  }
  return [...one, ...fresh];
}
