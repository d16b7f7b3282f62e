/** Paths in reports. */

/** The last part of a path: `cc` of `/usr/bin/cc`. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
