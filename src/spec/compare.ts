/** Two specs by what they allow, not by how they are written: what the second one widens and what it narrows. */

import { printable } from "../report/text.js";
import { counted } from "../report/units.js";
import { needsDescriptors } from "./descriptors.js";
import { RoleEvaluator } from "./evaluate.js";
import { type Grant, grantText, PHASES, type Role, type Spec } from "./model.js";
import { sortedGrants } from "./order.js";

export interface RoleChange {
  readonly role: string;
  readonly what: "new" | "gone" | "changed";
  readonly widened: readonly Grant[];
  readonly narrowed: readonly Grant[];
}

export interface SpecDifference {
  readonly verdict: "equal" | "narrowed" | "widened";
  /** Whether only the second has programs started with all descriptors that are open, whatever they lead to. */
  readonly passesDescriptors: boolean;
  readonly changes: readonly RoleChange[];
}

/** Roles are the same when an executable and the script are, whatever they are called. */
function sameRole(one: Role, other: Role): boolean {
  return one.script === other.script && one.exe.some((exe) => other.exe.includes(exe));
}

export function compareSpecs(before: Spec, after: Spec): SpecDifference {
  const changes: RoleChange[] = [];
  for (const role of after.roles) {
    // Which programs it is for counts as well: one may have been another role's, or none's.
    const exes = role.exe.filter((exe) => roleOf(after, exe, role.script) === role);
    const olds = exes.map((exe) => roleOf(before, exe, role.script));
    const old = olds.find((one) => one !== undefined);
    if (old === undefined) {
      const isKnown = before.roles.some((candidate) => sameRole(candidate, role));
      if (!isKnown)
        changes.push({ role: role.name, what: "new", widened: role.grants, narrowed: [] });
      continue;
    }
    for (const exe of exes.filter((_, k) => olds[k] === undefined)) {
      const name = `${role.name} ${exe}`;
      changes.push({ role: name, what: "new", widened: role.grants, narrowed: [] });
    }
    const renamed = renamer(after, before);
    const known = [...new Set(olds)].filter((one) => one !== undefined);
    const widened = new Set(known.flatMap((one) => uncovered(one, role, renamed)));
    const narrowed = uncovered(role, old, renamer(before, after));
    if (widened.size + narrowed.length > 0) {
      changes.push({
        role: role.name,
        what: "changed",
        widened: sortedGrants([...widened]),
        narrowed,
      });
    }
  }
  for (const role of before.roles) {
    if (!after.roles.some((candidate) => sameRole(candidate, role))) {
      changes.push({ role: role.name, what: "gone", widened: [], narrowed: role.grants });
    }
  }
  const passesDescriptors = needsDescriptors(after) && !needsDescriptors(before);
  const isWider = changes.some(({ what, widened }) => what === "new" || widened.length > 0);
  const verdict =
    isWider || passesDescriptors ? "widened" : changes.length > 0 ? "narrowed" : "equal";
  return { verdict, passesDescriptors, changes };
}

/** The role that a program has in a spec: the first that names it. */
function roleOf({ roles }: Spec, exe: string, script: string | undefined): Role | undefined {
  return roles.find((role) => role.script === script && role.exe.includes(exe));
}

/** Names of roles in objects (`role:cc1`) from one spec's to the other's. */
function renamer(from: Spec, to: Spec): (grant: Grant) => Grant {
  return (grant) => {
    const name = /^role:(.*)$/.exec(grant.object)?.[1];
    const role = name === undefined ? undefined : from.roles.find((one) => one.name === name);
    const other = role && to.roles.find((candidate) => sameRole(candidate, role));
    return other === undefined ? grant : { ...grant, object: `role:${other.name}` };
  };
}

/** Grants of `role` that `by` does not cover; where it covers one in all phases but one, that one of it. */
function uncovered(by: Role, role: Role, renamed: (grant: Grant) => Grant): Grant[] {
  const evaluator = new RoleEvaluator(by, {});
  const missing = role.grants.flatMap((grant) => {
    if (evaluator.covers(renamed(grant), {})) return [];
    if (grant.phase !== undefined) return [grant];
    const phases = PHASES.map((phase) => ({ ...grant, phase }));
    const left = phases.filter((one) => !evaluator.covers(renamed(one), {}));
    return left.length === phases.length ? [grant] : left;
  });
  return sortedGrants(missing);
}

const SYMBOLS = { widened: "+", narrowed: "-" } as const;

const PASSES = "programs are started with all descriptors that are open";

export function differenceText({ verdict, passesDescriptors, changes }: SpecDifference): string {
  const lines: string[] = passesDescriptors ? [`${SYMBOLS.widened} ${PASSES}`] : [];
  for (const { role, what, widened, narrowed } of changes) {
    const note = what === "new" ? "  (new role)" : what === "gone" ? "  (role is gone)" : "";
    lines.push(`${role}${note}`);
    for (const text of textsOf(widened)) lines.push(`  ${SYMBOLS.widened} ${text}`);
    for (const text of textsOf(narrowed)) lines.push(`  ${SYMBOLS.narrowed} ${text}`);
  }
  lines.push(summary(verdict, changes));
  return `${lines.map(printable).join("\n")}\n`;
}

/** Calls of one role from which on they are told in one line: among those of a new program the rest would be lost. */
const MANY_CALLS = 8;

/** What is told of grants, a line each. */
function textsOf(grants: readonly Grant[]): string[] {
  const calls = grants.filter(({ verb }) => verb === "syscall");
  const isFolded = calls.length >= MANY_CALLS;
  const texts = grants
    .filter(({ verb }) => verb !== "syscall" || !isFolded)
    .map((grant) =>
      grant.phase === undefined ? grantText(grant) : `${grantText(grant)} (in ${grant.phase})`,
    );
  const folded = `${calls.length} syscalls: ${calls.map(({ object }) => object).join(" ")}`;
  return isFolded ? [...texts, folded] : texts;
}

function summary(verdict: SpecDifference["verdict"], changes: readonly RoleChange[]): string {
  if (verdict === "equal") return "equal: both allow the same";
  const sum = (of: "widened" | "narrowed") =>
    changes.reduce((total, change) => total + change[of].length, 0);
  return `${verdict}: ${counted(sum("widened"), "grant")} wider, ${sum("narrowed")} narrower`;
}

/** For pull requests. */
export function differenceMarkdown({
  verdict,
  passesDescriptors,
  changes,
}: SpecDifference): string {
  const lines = [`**Sandbox spec: ${summary(verdict, changes)}**`, ""];
  if (passesDescriptors) lines.push(`Wider: ${PASSES}.`, "");
  if (changes.length > 0) lines.push("| role | | grant |", "| --- | --- | --- |");
  const cell = (text: string) => `\`${text.replaceAll("`", "'").replaceAll("|", "\\|")}\``;
  for (const { role, what, widened, narrowed } of changes) {
    const name = what === "changed" ? role : `${role} (${what})`;
    for (const text of textsOf(widened)) lines.push(`| ${name} | wider | ${cell(text)} |`);
    for (const text of textsOf(narrowed)) lines.push(`| ${name} | narrower | ${cell(text)} |`);
  }
  return `${lines.map(printable).join("\n")}\n`;
}
