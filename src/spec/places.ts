/** Places that a spec must not reach into by accident, and files whose content is a secret. */

import { dirname } from "node:path";

/** Below these only single files are granted unless somebody asks for more; `$HOME` is the user's home. */
const PROTECTED_TREES: readonly string[] = [
  "/etc",
  "/boot",
  "/root",
  "/dev",
  "/sys",
  "/proc/sys",
  "/run/secrets",
  "/var/lib/secrets",
  "/etc/ssl/private",
];

/** Directories whose own entries are protected, though not what is below other names. */
const PROTECTED_DIRECTORIES: ReadonlySet<string> = new Set([
  "/",
  "/usr",
  "/bin",
  "/sbin",
  "/usr/bin",
  "/usr/sbin",
  "/usr/local/bin",
  "/home",
  "/proc",
  "/var",
  "/run",
]);

const SECRETS: readonly RegExp[] = [
  /^\/etc\/(?:shadow|gshadow|sudoers)(?:[-.].*)?$/,
  /^\/etc\/ssl\/private(?:\/|$)/,
  /\/\.(?:ssh|gnupg|aws|azure|kube|docker|password-store)(?:\/|$)/,
  /\/\.config\/(?:gcloud|gh|op|rclone)(?:\/|$)/,
  /\/\.(?:netrc|pgpass|git-credentials|npmrc|pypirc|my\.cnf)$/,
  /\/(?:id_(?:rsa|ecdsa|ed25519|dsa)|ssh_host_\w+_key)$/,
  /\.(?:pem|key|p12|pfx|jks|keystore|kdbx)$/,
  /\/(?:credentials|secrets?)(?:\.(?:json|ya?ml|toml|env))?$/,
  /\/\.env(?:\.\w+)?$/,
];

/** Certificates of authorities are no secrets, whatever their names end in. */
const PUBLIC = /^\/(?:etc\/ssl\/certs|usr\/(?:local\/)?(?:share|lib\/ssl))\//;

/** Whether a path with its tokens replaced names a secret. */
export function isSecret(path: string): boolean {
  return !PUBLIC.test(path) && SECRETS.some((secret) => secret.test(path));
}

/** Why no pattern should reach into the directory; undefined when one may. `home` is the home directory. */
export function protection(directory: string, home: string | undefined): string | undefined {
  if (PROTECTED_DIRECTORIES.has(directory)) return `${directory} holds what all programs share`;
  if (/^\/dev\/(?:shm|mqueue)(?:\/|$)/.test(directory)) return undefined;
  const tree = PROTECTED_TREES.find(
    (path) => directory === path || directory.startsWith(`${path}/`),
  );
  const isInHome =
    home !== undefined && home !== "/" && (directory === home || directory.startsWith(`${home}/`));
  if (tree !== undefined && !(isInHome && tree === "/root")) return `${tree} is protected`;
  if (isSecret(`${directory}/`) || isSecret(directory)) return `${directory} holds credentials`;
  if (!isInHome) return undefined;
  if (directory === home) return "it is the home directory";
  const first = directory.slice(home.length + 1).split("/")[0] ?? "";
  // Work trees that happen to stand in a dot directory are named by tokens of their own.
  return first.startsWith(".") && !CACHES.test(directory.slice(home.length + 1))
    ? `${home}/${first} is a user's configuration`
    : undefined;
}

/** Caches, logs and counters in a home directory, and what programs keep for a while beside their configuration. */
const CACHES =
  /^(?:\.cache|\.npm\/_logs|\.config\/go\/telemetry|\.[^/]+\/(?:tmp|temp|cache))(?:\/|$)/;

/** The directory that an object's last name stands in. */
export function directoryOf(object: string): string {
  return dirname(object);
}
