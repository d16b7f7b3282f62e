/** Two specs by what they allow, not by how they are written: what the second one widens and what it narrows. */

import { printable } from "../report/text.js";
import { counted } from "../report/units.js";
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
  readonly changes: readonly RoleChange[];
}

/** Roles are the same when an executable and the script are, whatever they are called. */
function sameRole(one: Role, other: Role): boolean {
  return one.script === other.script && one.exe.some((exe) => other.exe.includes(exe));
}

export function compareSpecs(before: Spec, after: Spec): SpecDifference {
  const changes: RoleChange[] = [];
  for (const role of after.roles) {
    const old = before.roles.find((candidate) => sameRole(candidate, role));
    if (old === undefined) {
      changes.push({ role: role.name, what: "new", widened: role.grants, narrowed: [] });
      continue;
    }
    const renamed = renamer(after, before);
    const widened = uncovered(old, role, renamed);
    const narrowed = uncovered(role, old, renamer(before, after));
    if (widened.length + narrowed.length > 0) {
      changes.push({ role: role.name, what: "changed", widened, narrowed });
    }
  }
  for (const role of before.roles) {
    if (!after.roles.some((candidate) => sameRole(candidate, role))) {
      changes.push({ role: role.name, what: "gone", widened: [], narrowed: role.grants });
    }
  }
  const isWider = changes.some(({ what, widened }) => what === "new" || widened.length > 0);
  const verdict = isWider ? "widened" : changes.length > 0 ? "narrowed" : "equal";
  return { verdict, changes };
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

export function differenceText({ verdict, changes }: SpecDifference): string {
  const lines: string[] = [];
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
export function differenceMarkdown({ verdict, changes }: SpecDifference): string {
  const lines = [`**Sandbox spec: ${summary(verdict, changes)}**`, ""];
  if (changes.length > 0) lines.push("| role | | grant |", "| --- | --- | --- |");
  const cell = (text: string) => `\`${text.replaceAll("`", "'").replaceAll("|", "\\|")}\``;
  for (const { role, what, widened, narrowed } of changes) {
    const name = what === "changed" ? role : `${role} (${what})`;
    for (const text of textsOf(widened)) lines.push(`| ${name} | wider | ${cell(text)} |`);
    for (const text of textsOf(narrowed)) lines.push(`| ${name} | narrower | ${cell(text)} |`);
  }
  return `${lines.map(printable).join("\n")}\n`;
}
