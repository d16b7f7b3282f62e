/** The history of a repository with the files that each commit changed; all objects are loose. */

import { scatter, text } from "../material.js";
import { setUp, type Workload } from "../workload.js";

const FILES = 40;

/** A history for `git fast-import`: each commit changes two files. */
function history(commits: number): string {
  const out: string[] = [];
  const data = (content: string): string => `data ${Buffer.byteLength(content)}\n${content}\n`;
  for (let k = 0; k < commits; k++) {
    out.push(
      `commit refs/heads/main\ncommitter A <a@example.org> ${1_700_000_000 + k * 60} +0000\n`,
    );
    out.push(data(`change ${k}\n\n${text(k, 2)}`));
    for (const file of [scatter(k, FILES), scatter(k + 7, FILES)]) {
      out.push(`M 100644 inline src/file${file}.txt\n${data(text(k + file, 30))}`);
    }
  }
  return out.join("");
}

export const workload: Workload = {
  title: "git log --stat",
  programs: ["git"],
  share: 0.3,
  prepare: ({ dir, amount }) => {
    setUp(dir, ["git", "init", "-q", "-b", "main", "."]);
    const loose = ["-c", "fastimport.unpackLimit=1000000"];
    setUp(dir, ["git", ...loose, "fast-import", "--quiet"], history(amount(4_000)));
    return { argv: ["git", "log", "--stat", "main"] };
  },
};
