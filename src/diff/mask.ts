/** Values of environment variables whose names look like secrets: not for people and other programs. */

import { maskVariable } from "../show/secrets.js";
import type { Aspect, Difference } from "./result.js";

/** The difference with such values masked. To be done before sentences are made of it. */
export function maskedDifference(one: Difference): Difference {
  return one.verb === "exec" ? { ...one, aspects: one.aspects.map(maskedAspect) } : one;
}

export function maskedAspect(aspect: Aspect): Aspect {
  const { what, a, b } = aspect;
  return { ...aspect, a: a && maskedPart(what, a), b: b && maskedPart(what, b) };
}

/** What a part of a start says: `variable NAME` is masked, when its name looks like a secret's. */
export function maskedPart(what: string, value: string): string {
  const name = /^variable (.*)$/s.exec(what)?.[1];
  return name === undefined ? value : maskVariable(`${name}=${value}`).slice(name.length + 1);
}
