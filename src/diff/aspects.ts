/** What two decoded events differ in, part by part, and whose doing that is. */

import type { Call } from "../decode/value.js";
import type { Leaves } from "./events.js";
import type { Aspect, Difference } from "./result.js";
import { READING, WRITING } from "./verbs.js";

/** What the leaves of two events differ in. */
export function leafAspects(a: Leaves, b: Leaves, verb: string): Aspect[] {
  const aspects: Aspect[] = [];
  const failed = a.has("errno") !== b.has("errno");
  for (const what of new Set([...a.keys(), ...b.keys()])) {
    const [one, other] = [a.get(what), b.get(what)];
    if (one === other) continue;
    // Outputs of a call that failed once are there once.
    if (failed && what !== "errno" && (one === undefined || other === undefined)) continue;
    if (what === "errno") aspects.push({ what, a: one ?? "success", b: other ?? "success" });
    else aspects.push({ what, a: one ?? null, b: other ?? null });
  }
  if (verb !== "exec") return aspects;
  // Another program says more than its arguments.
  const isProgram = ({ what }: Aspect) => what === "program";
  return [
    ...aspects.filter(isProgram),
    ...movedArguments(aspects.filter((one) => !isProgram(one))),
  ];
}

/** An argument that was put in shifts the others: only what is new or gone is said. */
function movedArguments(aspects: Aspect[]): Aspect[] {
  const isArgument = ({ what }: Aspect) => what.startsWith("argument ");
  const shifted = aspects.filter(isArgument);
  if (shifted.length < 2) return aspects;
  const [gone, come] = (["a", "b"] as const).map((key) =>
    shifted.flatMap((aspect) => aspect[key] ?? []),
  );
  const found: Aspect[] = [];
  const rest = [...(come ?? [])];
  for (const word of gone ?? []) {
    const at = rest.indexOf(word);
    if (at >= 0) rest.splice(at, 1);
    else found.push({ what: "argument", a: word, b: null });
  }
  for (const word of rest) found.push({ what: "argument", a: null, b: word });
  const others = aspects.filter((aspect) => !isArgument(aspect));
  return found.length === 0
    ? [
        ...others,
        { what: "order of arguments", a: (gone ?? []).join(" "), b: (come ?? []).join(" ") },
      ]
    : [...found, ...others];
}

/** Input is what came from outside: results, and what was read. All else is what the program did. */
export function sideOf(verb: string, aspects: readonly Aspect[]): Difference["side"] {
  if (verb === "end") return "end";
  if (verb === "exec" || verb === "image" || verb === "signal") return "input";
  const isInput = ({ what }: Aspect): boolean =>
    what === "errno" ||
    (what === "result" && !WRITING.has(verb)) ||
    what.includes(".") ||
    (what === "data" && READING.has(verb));
  return aspects.every(isInput) ? "input" : "action";
}

/** What a file is opened for; undefined for calls that open none. */
export function opensFor(call: Call | undefined): Difference["opens"] {
  if (call === undefined || !/^(?:open|openat|openat2|creat)$/.test(call.name)) return undefined;
  if (call.name === "creat") return "create";
  const flags = call.args.find(({ name }) => name === "flags")?.value;
  const names = flags?.kind === "flags" ? flags.names : [];
  if (names.includes("O_CREAT")) return "create";
  return names.some((name) => name === "O_WRONLY" || name === "O_RDWR") ? "write" : "read";
}

/** Which of its kind a call is that is on nothing: the first of its arguments that is one of several names. */
export function aboutOf(call: Call | undefined, object: string): string | undefined {
  if (call === undefined || object !== "") return undefined;
  for (const { value } of call.args) if (value.kind === "choice") return value.name;
  return undefined;
}
