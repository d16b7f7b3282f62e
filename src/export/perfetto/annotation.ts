/** Arguments and results of calls as Perfetto's debug annotations, each of the type that it has. */

import { isUtf8 } from "node:buffer";
import type { BytesValue, Num, StructValue, Value } from "../../decode/value.js";
import { type Notation, quoteBytes, valueText } from "../../show/notation.js";
import { maskedEnvironment } from "../../show/secrets.js";
import type { ProtoWriter } from "../protobuf.js";
import { Annotation, TrackEvent } from "./fields.js";
import type { Sequence } from "./sequence.js";

/** Elements of an array that are written; the rest is said to be there. */
const MAX_ITEMS = 32;

const utf8 = new TextDecoder();

export class AnnotationWriter {
  readonly #writer: ProtoWriter;
  readonly #notation: Notation;
  #sequence: Sequence;

  constructor(writer: ProtoWriter, sequence: Sequence, notation: Notation) {
    this.#writer = writer;
    this.#sequence = sequence;
    this.#notation = notation;
  }

  /** The sequence of the packet that is being written. */
  set sequence(sequence: Sequence) {
    this.#sequence = sequence;
  }

  /** An annotation of the event that is being written. */
  value(name: string, value: Value): void {
    this.#entry(TrackEvent.annotations, name, () => this.#value(value));
  }

  int(name: string, value: Num): void {
    this.#entry(TrackEvent.annotations, name, () => this.#writer.int(Annotation.int, value));
  }

  pointer(name: string, value: Num): void {
    this.#entry(TrackEvent.annotations, name, () => this.#writer.int(Annotation.pointer, value));
  }

  bool(name: string, value: boolean): void {
    this.#entry(TrackEvent.annotations, name, () =>
      this.#writer.uint(Annotation.bool, value ? 1 : 0),
    );
  }

  /** A text that comes up again and again. */
  word(name: string, text: string): void {
    this.#entry(TrackEvent.annotations, name, () => this.#word(text));
  }

  text(name: string, text: string): void {
    this.#entry(TrackEvent.annotations, name, () => this.#writer.string(Annotation.string, text));
  }

  #entry(field: number, name: string, write: () => void): void {
    const w = this.#writer;
    const mark = w.open(field);
    if (name !== "") {
      const iid = this.#sequence.iid("annotationNames", name);
      if (iid === 0) w.string(Annotation.name, name);
      else w.uint(Annotation.nameIid, iid);
    }
    write();
    w.close(mark);
  }

  #word(text: string): void {
    const iid = this.#sequence.iid("annotationStrings", text);
    if (iid === 0) this.#writer.string(Annotation.string, text);
    else this.#writer.uint(Annotation.stringIid, iid);
  }

  #value(value: Value): void {
    const w = this.#writer;
    switch (value.kind) {
      case "int":
        if (value.base === "hex") w.int(Annotation.pointer, value.value);
        else if (value.base === "oct") this.#word(valueText(value, this.#notation));
        else if (value.value > Number.MAX_SAFE_INTEGER) w.int(Annotation.uint, value.value);
        else w.int(Annotation.int, value.value);
        break;
      case "pointer":
        w.int(Annotation.pointer, value.addr);
        break;
      case "choice":
        if (value.name === undefined) w.int(Annotation.int, value.value);
        else this.#word(value.name);
        break;
      case "deref":
        this.#value(value.value);
        break;
      case "fd":
        this.#descriptor(value);
        break;
      case "bytes":
        this.#bytes(value);
        break;
      case "struct":
        this.#struct(value);
        break;
      case "array":
        this.#array(value);
        break;
      case "change":
        this.#entry(Annotation.dictEntries, "before", () => this.#value(value.before));
        this.#entry(Annotation.dictEntries, "after", () => this.#value(value.after));
        break;
      default:
        this.#word(valueText(value, this.#notation));
    }
  }

  #descriptor({ fd, name, object }: Extract<Value, { kind: "fd" }>): void {
    if (object === undefined) {
      if (name === undefined) this.#writer.int(Annotation.int, fd);
      else this.#word(name);
      return;
    }
    this.#entry(Annotation.dictEntries, "fd", () => {
      if (name === undefined) this.#writer.int(Annotation.int, fd);
      else this.#word(name);
    });
    this.#entry(Annotation.dictEntries, "path", () => this.#word(object.path));
  }

  /** Text as it is; bytes that are none with C's escapes, as a string must be UTF-8. */
  #bytes(value: BytesValue): void {
    const limit = value.style === "path" ? value.bytes.length : this.#notation.stringLimit;
    const shown = value.bytes.length > limit ? value.bytes.subarray(0, limit) : value.bytes;
    const text =
      value.style !== "hex" && isUtf8(shown) ? utf8.decode(shown) : quoteBytes(shown, "", "");
    const tail = value.total > shown.length ? "..." : "";
    this.#writer.string(Annotation.string, text + tail);
  }

  #struct(value: StructValue): void {
    if (value.brief !== undefined) {
      this.#value(value.brief);
      return;
    }
    for (const field of value.fields) {
      if (field.hidden === true || field.detail === true) continue;
      const name = field.key ?? field.name;
      this.#entry(Annotation.dictEntries, name, () => this.#value(field.value));
    }
  }

  #array(value: Extract<Value, { kind: "array" }>): void {
    if (value.brief !== undefined) {
      this.#value(value.brief);
      return;
    }
    const isMasked = value.environment === true && this.#notation.showSecrets !== true;
    const items = isMasked ? maskedEnvironment(value.items) : value.items;
    for (const item of items.slice(0, MAX_ITEMS)) {
      this.#entry(Annotation.arrayValues, "", () => this.#value(item));
    }
    if (value.elided || items.length > MAX_ITEMS) {
      this.#entry(Annotation.arrayValues, "", () => this.#word("..."));
    }
  }
}
