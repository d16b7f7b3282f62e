/** Programs that the table needs, installed where the system's package manager is apt and may be used. */

import { spawnSync } from "node:child_process";
import { findProgram } from "../support/tools.js";

/** Packages that are not called like their program. */
const PACKAGES: Readonly<Record<string, string>> = {
  awk: "mawk",
  borg: "borgbackup",
  busybox: "busybox-static",
  convert: "imagemagick",
  diff: "diffutils",
  dig: "bind9-dnsutils",
  emacs: "emacs-nox",
  find: "findutils",
  go: "golang-go",
  gs: "ghostscript",
  identify: "imagemagick",
  java: "default-jdk-headless",
  javac: "default-jdk-headless",
  md5sum: "coreutils",
  mosquitto_pub: "mosquitto-clients",
  mpirun: "openmpi-bin",
  ninja: "ninja-build",
  node: "nodejs",
  pdflatex: "texlive-latex-base",
  php: "php-cli",
  "redis-cli": "redis-tools",
  rg: "ripgrep",
  rustc: "rustc",
  sftp: "openssh-client",
  "sphinx-build": "python3-sphinx",
  "ssh-keygen": "openssh-client",
  tclsh: "tcl",
  tesseract: "tesseract-ocr",
  xargs: "findutils",
  xz: "xz-utils",
};

const LIMIT_MS = 600_000;
let isUpdated = false;

/** Installs what it can; what is still missing afterwards could not be installed. */
export function installPrograms(programs: readonly string[]): void {
  if (process.geteuid?.() !== 0 || findProgram("apt-get") === undefined) return;
  const apt = (...words: string[]) =>
    spawnSync("apt-get", words, {
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      stdio: ["ignore", "ignore", "inherit"],
      timeout: LIMIT_MS,
    });
  if (!isUpdated) apt("update", "-q");
  isUpdated = true;
  const packages = new Set(programs.map((program) => PACKAGES[program] ?? program));
  apt("install", "-y", "-q", "--no-install-recommends", ...packages);
}
