/** A result without the values of environment variables whose names look like secrets: what is shown to people and other programs. */

import { maskVariable } from "../show/secrets.js";
import type { Aspect, Cause, DiffResult } from "./result.js";

export function maskSecrets(result: DiffResult): DiffResult {
  return {
    ...result,
    firstCause: result.firstCause && maskedCause(result.firstCause),
    otherCauses: result.otherCauses.map(maskedCause),
    starts: result.starts.map((start) => ({ ...start, aspects: start.aspects.map(maskedAspect) })),
    differences: result.differences.map((one) =>
      one.verb === "exec" ? { ...one, aspects: one.aspects.map(maskedAspect) } : one,
    ),
  };
}

function maskedAspect(aspect: Aspect): Aspect {
  const name = /^variable (.*)$/.exec(aspect.what)?.[1];
  if (name === undefined) return aspect;
  const masked = (value: string | null) =>
    value === null ? null : maskVariable(`${name}=${value}`).slice(name.length + 1);
  return { ...aspect, a: masked(aspect.a), b: masked(aspect.b) };
}

function maskedCause(cause: Cause): Cause {
  return {
    ...cause,
    summary: maskedSentence(cause.summary),
    consequences: cause.consequences.map(maskedSentence),
  };
}

/** As words.ts tells of variables: `variable NAME is ... in A, ... in B; ...`. */
function maskedSentence(text: string): string {
  return text.replace(/variable (\w+)(?: is)? [^;]*/g, (found, name: string) =>
    maskVariable(`${name}=x`).endsWith("=x") ? found : `variable ${name} differs`,
  );
}
