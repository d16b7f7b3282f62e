/**
 * Whether a role of a spec was granted an access. This is what a spec means: `check` asks it of recordings, `diff` of
 * other specs, and the supervisor of an enforced run (native/engine/src/enforce/policy.rs) decides the same of the
 * accesses themselves.
 *
 * What is granted together: whoever may do anything with a path may look at it (`stat`), and whoever may run a program may
 * read it.
 */

import { append } from "../group.js";
import { coversChoice } from "./choices.js";
import { PID_MARK } from "./collect.js";
import { type Grant, isPathVerb, type Phase, type Role, SOCKET_VERBS, type Verb } from "./model.js";
import { coversAddress, coversPath, PathPattern } from "./object.js";
import { expanded, type Tokens } from "./tokens.js";

/** No process has it: the largest that Linux gives out is 2^22. */
const SOME_PID = "4194305";

/** Verbs of paths that come with `stat`. */
const LOOKS: readonly Verb[] = [
  "stat",
  "read",
  "write",
  "exec",
  "list",
  "create",
  "delete",
  "rename",
  "chmeta",
];

/** Verbs that give `verb` as well. */
export function impliedBy(verb: Verb): readonly Verb[] {
  if (verb === "stat") return LOOKS;
  if (verb === "read") return ["read", "exec"];
  if (verb.startsWith("ioctl:")) return [verb, "ioctl:*"];
  return [verb];
}

interface Compiled {
  readonly grant: Grant;
  /** Of path verbs. */
  readonly pattern: PathPattern | undefined;
  readonly object: string;
}

export class RoleEvaluator {
  readonly role: Role;
  readonly #literal = new Map<string, Grant>();
  readonly #patterns = new Map<string, Compiled[]>();

  constructor(role: Role, tokens: Tokens) {
    this.role = role;
    for (const grant of role.grants) {
      const object = expanded(grant.object, tokens);
      this.#literal.set(`${grant.verb} ${object}`, grant);
      const isPath = isPathVerb(grant.verb);
      const compiled = { grant, object, pattern: isPath ? new PathPattern(object) : undefined };
      append(this.#patterns, grant.verb, compiled);
    }
  }

  /** The grant that allows an access of a plain object; undefined when none does. */
  grantFor(verb: Verb, plain: string, phase?: Phase): Grant | undefined {
    const object = plain.replaceAll(PID_MARK, SOME_PID);
    for (const own of impliedBy(verb)) {
      for (const { grant, pattern, object: granted } of this.#patterns.get(own) ?? []) {
        if (phase !== undefined && grant.phase !== undefined && grant.phase !== phase) continue;
        if (pattern === undefined ? this.#fits(verb, granted, object) : pattern.matches(object)) {
          return grant;
        }
      }
    }
    return undefined;
  }

  #fits(verb: Verb, granted: string, object: string): boolean {
    if (SOCKET_VERBS.has(verb)) return coversAddress(granted, object);
    if (granted === object) return true;
    if (verb === "syscall") return coversCall(granted, object);
    // Whoever may signal any process may signal each.
    return granted === "any" || (granted === "group" && object === "self");
  }

  /** Whether all that another grant gives is given. The tokens of both are those of this evaluator. */
  covers(other: Grant, tokens: Tokens): boolean {
    const object = expanded(other.object, tokens);
    const exact = this.#literal.get(`${other.verb} ${object}`);
    if (exact !== undefined && coversPhase(exact, other)) return true;
    return impliedBy(other.verb).some((own) =>
      (this.#patterns.get(own) ?? []).some(({ grant, object: granted }) => {
        if (!coversPhase(grant, other)) return false;
        if (isPathVerb(other.verb)) return coversPath(granted, object);
        return this.#fits(other.verb, granted, object);
      }),
    );
  }
}

function coversPhase(outer: Grant, inner: Grant): boolean {
  return outer.phase === undefined || outer.phase === inner.phase;
}

/**
 * `socket(inet,*,*)` covers `socket(inet,stream,tcp)`; a bare name covers nothing but itself. Of calls that choose, names and numbers
 * mean the same.
 */
export function coversCall(outer: string, inner: string): boolean {
  if (outer === inner || coversChoice(outer, inner)) return true;
  const one = /^(\w+)\((.*)\)$/.exec(outer);
  const other = /^(\w+)\((.*)\)$/.exec(inner);
  if (one === null || other === null || one[1] !== other[1]) return false;
  const own = (one[2] ?? "").split(",");
  const words = (other[2] ?? "").split(",");
  return own.length === words.length && own.every((word, k) => word === "*" || word === words[k]);
}
