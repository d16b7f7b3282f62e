/** A result as one HTML file that needs nothing else: no script from elsewhere, no font, no network. */

import { printable } from "../../report/text.js";
import { humanCount, humanDuration } from "../../report/units.js";
import type { Cause, ContextLine, Difference, DiffResult, EventRef } from "../result.js";
import { lonePhrase, phrase, processText } from "../words.js";
import { grouped } from "./text.js";

/** Events that are written out; a page with more is slow to open. */
const MOST_EVENTS = 3000;

export function diffHtml(result: DiffResult): string {
  const body = [
    head(result),
    result.firstCause === undefined ? "" : causeHtml(result.firstCause),
    others(result),
    files(result),
    programs(result),
    network(result),
    events(result),
    foot(result),
  ].join("\n");
  const title = html(`trace diff: ${result.summary}`);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${STYLE}</style>
<main>
${body}
</main>
</html>
`;
}

const STYLE = `
:root { color-scheme: light dark; --red: #b3261e; --green: #1a7f37; --dim: #6a737d; --line: #d0d7de; --back: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --red: #ff7b72; --green: #56d364; --dim: #8b949e; --line: #30363d; --back: #161b22; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0; }
main { max-width: 1100px; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.35rem; margin: 0 0 .5rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
code, pre, td.code { font: 13px/1.5 ui-monospace, monospace; }
pre { background: var(--back); border: 1px solid var(--line); border-radius: 6px; padding: .5rem .75rem; overflow-x: auto; margin: .4rem 0; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .2rem .6rem .2rem 0; vertical-align: top; border-bottom: 1px solid var(--line); }
td.code { word-break: break-all; }
.same { color: var(--green); } .different { color: var(--red); } .dim { color: var(--dim); }
.a, .del { color: var(--red); } .b, .add { color: var(--green); }
.cause { border-left: 4px solid var(--red); padding-left: .9rem; } .cause > p:first-of-type { font-weight: 600; }
.sides { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .75rem; } @media (max-width: 800px) { .sides { grid-template-columns: minmax(0, 1fr); } }
.mark { font-weight: 700; } details > summary { cursor: pointer; } .event { border-bottom: 1px solid var(--line); padding: .2rem 0; }
`;

function html(text: string): string {
  return printable(text)
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

function head({ verdict, summary, a, b, notes, maps }: DiffResult): string {
  const run = (label: string, side: DiffResult["a"]) =>
    `<tr><th class="${label.toLowerCase()}">${label}<td class="code">${html(side.path)}<td>${html(side.command.join(" ").slice(0, 200))}` +
    `<td>${humanCount(side.events)} events<td>${humanDuration(side.duration)}<td>${html(side.exit)}</tr>`;
  const told = [
    ...notes,
    ...maps.map(({ what, a: one, b: other }) => `${what}: ${other} in B is ${one} in A`),
  ];
  return (
    `<h1 class="${verdict}">${html(summary)}</h1><table>${run("A", a)}${run("B", b)}</table>` +
    told.map((note) => `<p class="dim">${html(note)}</p>`).join("")
  );
}

function section(title: string, body: string): string {
  return body === "" ? "" : `<h2>${title}</h2>${body}`;
}

function causeHtml(cause: Cause): string {
  const lines = linesHtml(cause.lines);
  const side = (label: "A" | "B", context: readonly ContextLine[]) =>
    `<div><b class="${label.toLowerCase()}">${label}</b><pre>${context.map(contextHtml).join("\n") || "nothing"}</pre></div>`;
  const then =
    cause.consequences.length === 0
      ? ""
      : `<p class="dim">then</p><ul>${cause.consequences.map((line) => `<li>${html(line)}`).join("")}</ul>`;
  const around = `<div class="sides">${side("A", cause.contextA)}${side("B", cause.contextB)}</div>`;
  return section(
    "First cause",
    `<div class="cause"><p>${html(cause.summary)}</p>${lines}${around}${then}</div>`,
  );
}

function contextHtml({ mark, seq, thread, text }: ContextLine): string {
  const line = `${mark ? "&gt;" : " "} @${seq} ${html(thread)} ${html(text)}`;
  return mark ? `<span class="mark">${line}</span>` : line;
}

function linesHtml(lines: readonly string[] = []): string {
  if (lines.length === 0) return "";
  const shown = lines.map((line) => {
    const name = line[0] === "-" ? "del" : line[0] === "+" ? "add" : "dim";
    return `<span class="${name}">${html(line)}</span>`;
  });
  return `<pre>${shown.join("\n")}</pre>`;
}

function others({ otherCauses }: DiffResult): string {
  const items = otherCauses.map(({ summary }) => `<li>${html(summary)}`).join("");
  return section("Besides, from outside", items === "" ? "" : `<ul>${items}</ul>`);
}

const SIGNS = { a: "−", b: "+", both: "~" } as const;

function files({ files: all }: DiffResult): string {
  const rows = all.map(
    ({ path, what, only, note }) =>
      `<tr class="${only}"><td>${SIGNS[only]}<td>${what}<td class="code">${html(path)}<td class="dim">${html(note)}</tr>`,
  );
  return section("Files", rows.length === 0 ? "" : `<table>${rows.join("")}</table>`);
}

function programs({ programs: lones, starts }: DiffResult): string {
  const rows = lones.map(
    (lone) =>
      `<tr class="${lone.only}"><td>${SIGNS[lone.only]}<td class="code">${html(lonePhrase(lone))}</tr>`,
  );
  for (const { process, aspects } of starts) {
    const names = aspects.map(({ what }) => what).join(", ");
    rows.push(`<tr><td>~<td class="code">${html(processText(process))}: ${html(names)}</tr>`);
  }
  return section("Programs", rows.length === 0 ? "" : `<table>${rows.join("")}</table>`);
}

function network({ net }: DiffResult): string {
  const rows = net.map(
    ({ address, what, only }) =>
      `<tr class="${only}"><td>${SIGNS[only]}<td>${html(what)}<td class="code">${html(address)}</tr>`,
  );
  return section("Network", rows.length === 0 ? "" : `<table>${rows.join("")}</table>`);
}

function events({ differences, more }: DiffResult): string {
  const rows = grouped(differences);
  const shown = rows.slice(0, MOST_EVENTS).map(({ one, times }) => eventHtml(one, times));
  const left =
    more +
    differences.length -
    rows.slice(0, MOST_EVENTS).reduce((sum, { times }) => sum + times, 0);
  const rest = left > 0 ? `<p class="dim">${humanCount(left)} more: trace diff --events</p>` : "";
  return section(
    `Events (${humanCount(differences.length + more)})`,
    shown.length === 0 ? "" : shown.join("") + rest,
  );
}

function eventHtml(one: Difference, times: number): string {
  const often = times > 1 ? ` <span class="dim">${times} times</span>` : "";
  const style = one.kind === "added" ? "b" : one.kind === "removed" ? "a" : "";
  const ref = (label: string, event: EventRef | undefined) =>
    event === undefined ? "" : `${label} @${event.seq} ${html(event.thread)} ${html(event.text)}\n`;
  const plain = one.aspects.filter(({ lines }) => lines === undefined);
  const facts = plain.map(
    ({ what, a, b }) => `${html(what)}: ${html(a ?? "nothing")} → ${html(b ?? "nothing")}\n`,
  );
  const secret = one.verb === "exec" ? [] : facts;
  const body = `<pre>${ref("A", one.a)}${ref("B", one.b)}${secret.join("")}</pre>${one.aspects.map(({ lines }) => linesHtml(lines)).join("")}`;
  const line = `<span class="dim">${html(processText(one.process))}</span> <span class="${style}">${html(phrase(one))}</span>${often}`;
  return `<details class="event"><summary>${line}</summary>${body}</details>`;
}

function foot({ explained, totals }: DiffResult): string {
  const parts = Object.entries(explained).map(([name, count]) => `${name} ${humanCount(count)}`);
  if (totals.moved > 0) parts.push(`in another order ${humanCount(totals.moved)}`);
  const rules =
    parts.length === 0
      ? ""
      : `<p class="dim">Looked different, but is not by the rules: ${html(parts.join(", "))}</p>`;
  return `${rules}<p class="dim">${humanCount(totals.equal)} events are equal.</p>`;
}
