/** Stacks as text, as strace -k prints them, and as JSON. */

import type { Painter } from "../report/color.js";
import { plainPainter } from "../report/color.js";
import { printable } from "../report/text.js";
import { hexText } from "../show/notation.js";
import type { Stack, StackFrame } from "./table.js";

/** `main+0x2f at /src/x.c:22`; without a line the file with the code. */
export function frameText(frame: StackFrame): string {
  const { function: name, behind, source, inlined, image, guessed, interrupted } = frame;
  if (frame.trampoline) return "<signal handler called>";
  const offset = behind === undefined || behind === 0 ? "" : `+${hexText(behind)}`;
  const place =
    image === undefined ? hexText(frame.address) : `${image.path}+${hexText(frame.address)}`;
  const what = name === undefined ? place : `${name}${offset}`;
  const where = source === undefined ? "" : ` at ${source.file}:${source.line}`;
  const file =
    source === undefined && name !== undefined && image !== undefined ? ` in ${image.path}` : "";
  const notes = [
    inlined ? "inlined" : "",
    interrupted ? "interrupted by a signal" : "",
    guessed ? "by frame pointer" : "",
    inlined ? "" : (frame.lack ?? ""),
    frame.compiled ? "compiled at run time" : "",
  ].filter((note) => note !== "");
  return printable(`${what}${where}${file}${notes.length > 0 ? ` (${notes.join(", ")})` : ""}`);
}

const INDENT = " ".repeat(29);

/** Lines below the line of an event. */
export function stackLines(stack: Stack, paint: Painter = plainPainter): string {
  let text = "";
  stack.frames.forEach((frame, k) => {
    text += `${INDENT}${paint("dim", `#${String(k).padEnd(2)} ${frameText(frame)}`)}\n`;
  });
  if (stack.cut !== undefined) text += `${INDENT}${paint("dim", `... ${stack.cut}`)}\n`;
  return text;
}

/**
 * As strace(1) prints them with -k; what is inlined has no line there. Functions that an interpreter runs have the line of their
 * source, in decimal, where others have an address.
 */
export function straceStack({ frames, cut }: Stack): string {
  let text = "";
  for (const frame of frames) {
    const { inlined, image, function: name, behind, address } = frame;
    if (inlined) continue;
    if (frame.interpreted) {
      text += printable(
        ` > ${frame.source?.file ?? ""}(${name ?? ""}) [${frame.source?.line ?? 0}]`,
      );
      text += "\n";
      continue;
    }
    const path = image?.path ?? "";
    const symbol = name === undefined ? "" : `${name}+${hexText(behind ?? 0)}`;
    text += printable(` > ${path}(${symbol}) [${hexText(address)}]`);
    text += "\n";
  }
  return cut === undefined ? text : `${text} > unexpected_backtracing_error [${cut}]\n`;
}

export function stackJson({ frames, cut }: Stack): object {
  return {
    frames: frames.map((frame) => ({
      function: frame.function ?? null,
      offset: frame.behind ?? null,
      file: frame.source?.file ?? null,
      line: frame.source?.line ?? null,
      inlined: frame.inlined,
      image: frame.image?.path ?? null,
      address: frame.interpreted ? null : hexText(frame.address),
      ...(frame.guessed && { guessed: true }),
      ...(frame.trampoline && { trampoline: true }),
      ...(frame.interpreted && { interpreted: true }),
      ...(frame.compiled && { compiled: true }),
      ...(frame.interrupted && { interrupted: true }),
      ...(frame.lack !== undefined && { lack: frame.lack }),
    })),
    cut: cut ?? null,
  };
}
