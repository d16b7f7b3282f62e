/** Events by what they go through: pipes and sockets of one process, and files whoever writes them. */

import { append } from "../group.js";
import type { Canonical } from "./canon/canonical.js";
import { NameKind } from "./canon/names.js";
import { kindText } from "./canon/settle.js";
import type { Entry } from "./chains.js";

type Key = "a" | "b";

export class Streams {
  readonly #c: Canonical;
  /** By side and verb: entries by name, or of files by hash. */
  readonly #entries = new Map<string, ReadonlyMap<number, readonly Entry[]>>();
  readonly #made: { a?: ReadonlyMap<string, number>; b?: ReadonlyMap<string, number> } = {};

  constructor(c: Canonical) {
    this.#c = c;
  }

  isFile({ stream, entry }: Entry, key: Key): boolean {
    return this.#c[key].canon.names.kind.at(stream.name.at(entry)) === NameKind.Path;
  }

  /** All events with a verb that go through the same, as they came. */
  alike({ stream, entry }: Entry, key: Key, verb: string): readonly Entry[] {
    const name = stream.name.at(entry);
    return this.#byName(key, verb).get(this.#idOf(key, name)) ?? [];
  }

  /** Files by what both traces call them, all else by itself. */
  #idOf(key: Key, name: number): number {
    const { canon, names } = this.#c[key];
    if (canon.names.kind.at(name) !== NameKind.Path) return -1 - name;
    return names.hash[name] as number;
  }

  #byName(key: Key, verb: string): ReadonlyMap<number, readonly Entry[]> {
    const known = this.#entries.get(key + verb);
    if (known !== undefined) return known;
    const found = new Map<number, Entry[]>();
    const number = this.#c.verbs.of(verb);
    this.#c[key].canon.streams.forEach((stream, thread) => {
      for (let entry = 0; entry < (stream?.length ?? 0); entry++) {
        if (stream === undefined || stream.verb.at(entry) !== number) continue;
        const id = this.#idOf(key, stream.name.at(entry));
        append(found, id, { stream, thread, entry });
      }
    });
    const seqOf = ({ stream, entry }: Entry) => stream.seq.at(entry);
    for (const entries of found.values()) entries.sort((x, y) => seqOf(x) - seqOf(y));
    this.#entries.set(key + verb, found);
    return found;
  }

  /** An event of the other trace that does the same to the pipe or socket that was made there as this one was here. */
  counterpart(own: Entry, key: Key): Entry | undefined {
    const { canon } = this.#c[key];
    const name = own.stream.name.at(own.entry);
    const verb = this.#c.verbs.names[own.stream.verb.at(own.entry)] ?? "";
    const other = key === "a" ? "b" : "a";
    if (this.isFile(own, key)) {
      const hash = this.#c[key].names.hash[name] as number;
      return this.#byName(other, verb).get(hash)?.[0];
    }
    if (canon.names.kind.at(name) !== NameKind.Object) return undefined;
    const made = this.#madeAs(key, canon.names.x.at(name));
    const object = made === undefined ? undefined : this.#objects(other).get(made);
    if (object === undefined) return undefined;
    const counter = this.#c[other].canon.names.object(object, -1);
    return this.#byName(other, verb).get(-1 - counter)?.[0];
  }

  /** Which of its kind an object is of the process that made it, in words that both traces have. */
  #madeAs(key: Key, object: number): string | undefined {
    const { canon } = this.#c[key];
    const origin = canon.origins.get(object);
    const pairs = key === "a" ? this.#c.lineage.ofA : this.#c.lineage.ofB;
    const pair = origin === undefined ? undefined : pairs.get(origin.process);
    if (origin === undefined || pair === undefined) return undefined;
    return `${pair} ${origin.ordinal} ${kindText(canon.trace.objects[object])}`;
  }

  #objects(key: Key): ReadonlyMap<string, number> {
    const known = this.#made[key];
    if (known !== undefined) return known;
    const found = new Map<string, number>();
    for (const object of this.#c[key].canon.origins.keys()) {
      const made = this.#madeAs(key, object);
      if (made !== undefined) found.set(made, object);
    }
    this.#made[key] = found;
    return found;
  }
}
