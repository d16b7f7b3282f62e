/** What is special about the objects that descriptors stand for, so that rules treat calls on them in their own way. */

import type { Trace } from "../../trace/trace.js";
import { KERNEL_FILE } from "../rules.js";
import { Words } from "./columns.js";
import { NameKind, type Names } from "./names.js";

export const Special = {
  Unknown: 0,
  None: 1,
  WakeUp: 2,
  KernelFile: 3,
  Random: 4,
  Inherited: 5,
  Pipe: 6,
} as const;

/** Of each object, found once; of those with a path, once per path. */
export class SpecialObjects {
  readonly #trace: Trace;
  readonly #names: Names;
  /** By the number of an object, and of a path. */
  readonly #known: Uint8Array;
  readonly #paths = new Words();

  constructor(trace: Trace, names: Names) {
    this.#trace = trace;
    this.#names = names;
    this.#known = new Uint8Array(Math.min(trace.info.objectCount, 1 << 24));
  }

  of(index: number, fd: number, name: number): number {
    const known = this.#known[index];
    if (known !== undefined && known !== Special.Unknown) return known;
    // A standard stream may be the one that the program began with.
    const isStream = fd >= 0 && fd <= 2;
    const special = isStream ? this.#byObject(index, fd) : this.#byName(index, fd, name);
    if (index < this.#known.length) this.#known[index] = special;
    return special;
  }

  /** Many objects have one path. */
  #byName(index: number, fd: number, name: number): number {
    if (this.#names.kind.at(name) !== NameKind.Path) return this.#byObject(index, fd);
    while (this.#paths.length < this.#names.count) this.#paths.push(Special.Unknown);
    const known = this.#paths.at(name);
    if (known !== Special.Unknown) return known;
    const special = this.#byObject(index, fd);
    this.#paths.set(name, special);
    return special;
  }

  /** Whole objects are fetched only where the path does not say enough: a long trace has millions of them. */
  #byObject(index: number, fd: number): number {
    const path = this.#trace.objectPath(index) ?? "";
    const isNamed = path.startsWith("/");
    const object = !isNamed || (fd >= 0 && fd <= 2) ? this.#trace.objects[index] : undefined;
    if (object !== undefined && object.createdBy < 0 && fd >= 0 && fd <= 2)
      return Special.Inherited;
    if (isNamed) {
      if (KERNEL_FILE.test(path)) return Special.KernelFile;
      return path === "/dev/urandom" || path === "/dev/random" ? Special.Random : Special.None;
    }
    if (/^anon_inode:\[(?:eventfd|timerfd|signalfd|eventpoll|pidfd)/.test(path))
      return Special.WakeUp;
    if (object?.detail.startsWith("NETLINK") === true) return Special.KernelFile;
    return object?.kind === "pipe" ? Special.Pipe : Special.None;
  }
}
