// Writes its own stack from functions of many kinds: names, innermost first.
const { openSync, writeSync } = require("node:fs");

const out = openSync(process.argv[2], "a");

function names() {
  const before = Error.prepareStackTrace;
  Error.prepareStackTrace = (_, sites) =>
    sites
      .filter((site) => site.getFileName() === __filename)
      .map((site) => site.getFunctionName() ?? "");
  Error.stackTraceLimit = 100;
  const { stack } = new Error("x");
  Error.prepareStackTrace = before;
  return stack.slice(1);
}

function mark() {
  writeSync(out, `${JSON.stringify(names())}\n`);
  return 0;
}

function recursive(depth) {
  if (depth > 0) return recursive(depth - 1);
  return mark();
}

class Shape {
  area() {
    return recursive(2);
  }
  get size() {
    return mark();
  }
}

function* generator() {
  yield mark();
}

async function waited() {
  await null;
  mark();
}

mark();
recursive(5);
new Shape().area();
new Shape().size;
[1].forEach(function each() {
  mark();
});
[2, 1].sort(function compared() {
  return mark();
});
[...generator()];
JSON.parse("[1]", function revived() {
  return mark();
});
setTimeout(function later() {
  mark();
}, 1);
waited();
