/** `trace spec explain`: why a grant is there, with the events that needed it. */

import { TraceError, usageError } from "../../errors.js";
import { printable } from "../../report/text.js";
import { counted } from "../../report/units.js";
import { type Grant, grantText, type Role } from "../../spec/model.js";
import type { CommandContext, CommandDef } from "../command.js";
import { wholeNumber } from "../values.js";
import { splitSpec, tracesOf, withTraces } from "./shared.js";

interface Options {
  readonly role?: string;
  readonly top: number;
}

export const command: CommandDef<Options> = {
  name: "spec explain",
  summary: "why is a grant there: the events that needed it",
  description:
    "The grant is written as the spec has it (read /etc/passwd), or only its object. The recordings are those that the spec " +
    "was made from, as long as they are where they were, or the ones that are named.",
  arguments: [
    { name: "<spec>", help: "spec file" },
    {
      name: "<grant...>",
      help: "a verb and an object, an object alone, or recordings",
      complete: "none",
    },
  ],
  options: [
    { flags: "--role <name>", help: "only of this role" },
    {
      flags: "--top <events>",
      help: "how many events, 0 for all",
      parse: wholeNumber(0),
      default: 10,
    },
  ],
  examples: [
    { line: "trace spec explain app.spec 'read /etc/passwd'", help: "who reads it, and where" },
  ],
  run,
};

interface Found {
  readonly role: Role;
  readonly grant: Grant;
}

async function run(context: CommandContext<Options>): Promise<number> {
  const { options } = context;
  const { spec, rest } = splitSpec(context.args);
  const named = rest.filter((word) => word.endsWith(".trace"));
  const wanted = rest.filter((word) => !word.endsWith(".trace")).join(" ");
  const found = find(spec.roles, wanted, options.role);
  const { role } = options;
  if (role !== undefined && !spec.roles.some(({ name }) => name === role)) {
    throw usageError(
      `there is no role ${role}`,
      `there is: ${spec.roles.map(({ name }) => name).join(", ")}`,
    );
  }
  if (found.length === 0) {
    const own = spec.roles.filter(({ name }) => role === undefined || name === role);
    const near = nearest(own, wanted);
    const who = role === undefined ? "no role has" : `${role} does not have`;
    throw new TraceError("NO_GRANT", `${who} a grant ${wanted}`, {
      hint:
        near.length > 0
          ? `there is: ${near.map((text) => `'${text}'`).join(", ")}`
          : "write it as the spec does: a verb and an object, such as 'read /etc/passwd'",
    });
  }
  const { eventsOf } = await import("../../spec/explain.js");
  const paths = named.length > 0 ? named : tracesOf(spec);
  await withTraces(paths, context, async (traces) => {
    for (const { role, grant } of found) {
      context.stdout.write(`${heading(role, grant)}\n`);
      for (const trace of traces) {
        const events = await eventsOf(trace, spec, role, grant, options.top);
        for (const line of events.lines) context.stdout.write(`  ${line}\n`);
        const more = events.total - events.lines.length;
        if (more > 0) context.stdout.write(`  ${counted(more, "more event")}; --top 0 shows all\n`);
      }
    }
  });
  if (paths.length === 0) {
    context.stderr.write(
      "trace: note: the recordings are not where they were; name them to see the events\n",
    );
  }
  return 0;
}

function find(roles: readonly Role[], wanted: string, only: string | undefined): Found[] {
  return roles
    .filter(({ name }) => only === undefined || name === only)
    .flatMap((role) =>
      role.grants
        .filter(({ verb, object }) => object === wanted || `${verb} ${object}` === wanted)
        .map((grant) => ({ role, grant })),
    );
}

const MAX_NEAR = 3;

/** Some grants in which the words occur. */
function nearest(roles: readonly Role[], wanted: string): string[] {
  const all = roles.flatMap(({ grants }) => grants.map((grant) => grantText(grant)));
  const found = wanted === "" ? [] : all.filter((text) => text.includes(wanted));
  return [...new Set(found)].slice(0, MAX_NEAR);
}

const WHY: Readonly<Record<string, string>> = {
  alias: "another name of a call that was seen",
  needed: "every program may need it, though healthy runs seldom show it",
  replaced: "the file is replaced by rename, so that its directory is granted",
  manual: "added by hand",
};

function heading(role: Role, grant: Grant): string {
  const parts = [`${role.name}: ${grant.verb} ${grant.object}`];
  if (grant.rung !== undefined) parts.push(`rung: ${grant.rung}`);
  if (grant.adds !== undefined) parts.push(`adds ${counted(grant.adds, "name")} that nobody used`);
  if (grant.because !== undefined) parts.push(WHY[grant.because] ?? grant.because);
  if (grant.phase !== undefined) parts.push(`only in ${grant.phase}`);
  if (grant.count !== undefined) {
    parts.push(`${counted(grant.count, "call")} in ${counted(grant.runs?.length ?? 0, "run")}`);
  }
  return printable(parts.join("; "));
}
