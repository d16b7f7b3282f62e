/**
 * What events speak of: paths, open file descriptions, processes. An event keeps the number of a name; what a name is
 * called in both traces is settled when both have been read (`canonical.ts`), since only then is it known which names
 * one trace has alone.
 */

import type { FdObject } from "../../trace/batch.js";
import { byteText } from "../../trace/byte_text.js";
import type { Trace } from "../../trace/trace.js";
import { HashIndex, Numbers, Words } from "./columns.js";
import { mixed, mixed2, textHash } from "./hash.js";

export const NameKind = {
  None: 0,
  /** A path; text is it. */
  Path: 1,
  /** An object without a path that was made in the trace: pipe, socket, eventfd. `x` is its object. */
  Object: 2,
  /** One that the program began with; text is stdin, stdout, stderr or what the system calls it. */
  Inherited: 3,
  /** A thread of the trace, by index. */
  Task: 4,
  /** Two names. */
  Pair: 5,
  /** Another text: an address of a socket, a process id that is none of the trace's. */
  Text: 6,
} as const;

export const NO_NAME = 0;

const STREAMS = ["stdin", "stdout", "stderr"];
const DELETED = " (deleted)";

/** Of the bytes that were read last: a batch has its bytes in one. */
let viewed: Buffer = Buffer.alloc(0);

function textOf({ buffer, byteOffset, byteLength }: Uint8Array, from: number, to: number): string {
  if (viewed.buffer !== buffer || viewed.byteOffset !== byteOffset)
    viewed = Buffer.from(buffer, byteOffset, byteLength);
  const text = viewed.toString("utf8", from, to);
  return text.includes("\ufffd") ? byteText(viewed.subarray(from, to)) : text;
}

export class Names {
  readonly kind = new Words();
  /** Object, thread, or first of a pair. */
  readonly x = new Words();
  readonly y = new Words();
  /** Of paths the hash of their texts. */
  readonly textHash = new Numbers();
  readonly #texts: (string | undefined)[] = [undefined];
  readonly #index = new HashIndex();
  readonly #trace: Trace;
  /** Name of each object, plus 1. */
  #ofObject: Int32Array;
  /** Names of the files to which the streams lead that the program began with. */
  readonly #streams = new Map<string, number>();
  /** Objects whose paths end otherwise than their names. */
  readonly #deleted = new Set<number>();
  /** Paths that were made new in this run: by O_EXCL, mkdir and their like. */
  readonly made = new Set<number>();
  /** Paths at which sockets were bound. */
  readonly bound = new Set<number>();

  constructor(trace: Trace) {
    this.#trace = trace;
    this.#ofObject = new Int32Array(Math.min(trace.info.objectCount, 1 << 24));
    this.#add(NameKind.None, 0, 0);
  }

  get count(): number {
    return this.kind.length;
  }

  /** The text of a path, a text, or a stream that was inherited. */
  text(name: number): string {
    return this.#texts[name] ?? "";
  }

  #add(kind: number, x: number, y: number, text?: string, hash = 0): number {
    this.kind.push(kind);
    this.x.push(x);
    this.y.push(y);
    this.textHash.push(hash);
    const name = this.kind.length - 1;
    if (text !== undefined) this.#texts[name] = text;
    return name;
  }

  /** Bytes of a path that is absolute and normal; `hash` is theirs. */
  pathBytes(data: Uint8Array, from: number, to: number, hash: number): number {
    const known = this.#index.get(hash);
    if (known >= 0) return known;
    return this.#remember(hash, this.#add(NameKind.Path, 0, 0, textOf(data, from, to), hash));
  }

  path(text: string): number {
    const hash = textHash(text);
    const known = this.#index.get(hash);
    if (known >= 0) return known;
    return this.#remember(hash, this.#add(NameKind.Path, 0, 0, text, hash));
  }

  other(text: string): number {
    const hash = mixed2(NameKind.Text, textHash(text));
    const known = this.#index.get(hash);
    if (known >= 0) return known;
    return this.#remember(hash, this.#add(NameKind.Text, 0, 0, text));
  }

  task(thread: number): number {
    const hash = mixed2(NameKind.Task, thread);
    const known = this.#index.get(hash);
    if (known >= 0) return known;
    return this.#remember(hash, this.#add(NameKind.Task, thread, 0));
  }

  /** Both names; one alone where the other is none. */
  pair(first: number, second: number): number {
    if (first === NO_NAME) return second;
    if (second === NO_NAME) return first;
    const hash = mixed(NameKind.Pair, first, second);
    const known = this.#index.get(hash);
    if (known >= 0) return known;
    return this.#remember(hash, this.#add(NameKind.Pair, first, second));
  }

  #remember(hash: number, name: number): number {
    this.#index.set(hash, name);
    return name;
  }

  /** Hash of the path of an object, where that is known without looking at the path; otherwise 0. */
  knownPathHash(index: number): number {
    const name = (this.#ofObject[index] ?? 0) - 1;
    if (name < 0 || this.kind.at(name) !== NameKind.Path || this.#deleted.has(index)) return 0;
    return this.textHash.at(name);
  }

  /** What object `index` is; `fd` is the number under which it is met. */
  object(index: number, fd: number): number {
    if (index >= this.#ofObject.length) return NO_NAME;
    const known = this.#ofObject[index] as number;
    if (known > 0) return known - 1;
    const name = this.#nameObject(index, fd);
    this.#ofObject[index] = name + 1;
    return name;
  }

  #nameObject(index: number, fd: number): number {
    const path = this.#trace.objectPath(index);
    if (path === undefined) return NO_NAME;
    const object = fd >= 0 && fd <= 2 ? this.#trace.objects[index] : undefined;
    if (object !== undefined && object.createdBy < 0) {
      const name = this.#add(NameKind.Inherited, index, 0, STREAMS[fd]);
      if (path.startsWith("/") && !path.startsWith("/dev/")) this.#streams.set(path, name);
      return name;
    }
    // Handed over to another process, it is another object there.
    const stream = this.#streams.get(path);
    if (stream !== undefined) return stream;
    if (!path.startsWith("/")) return this.#add(NameKind.Object, index, 0);
    // memfds are called /memfd:name; they have no place in the file system.
    if (!path.endsWith(DELETED)) return this.path(path);
    this.#deleted.add(index);
    return this.path(path.slice(0, -DELETED.length));
  }

  /** `stdin`, `stdout` or `stderr` of an object that the program began with, once it has a name. */
  stream(index: number): string | undefined {
    const name = (this.#ofObject[index] ?? 0) - 1;
    return name >= 0 && this.kind.at(name) === NameKind.Inherited ? this.#texts[name] : undefined;
  }

  /** The object of a name that stands for one without a path. */
  objectOf(name: number): FdObject | undefined {
    const kind = this.kind.at(name);
    if (kind !== NameKind.Object && kind !== NameKind.Inherited) return undefined;
    return this.#trace.objects[this.x.at(name)];
  }
}
