/** What is recorded where a long trace is wanted: programs that look at many files, which every machine has. */

/** What a pass works on. */
export interface Pass {
  /** Whether tar(1) reads the files that it archives: it does not when the archive goes to /dev/null. */
  readonly reads: boolean;
  /** Folder with sources that python3 compiles. */
  readonly sources: string;
}

/** A shell script that lists, searches, archives and compiles, "$1" times. What one pass does depends on what is installed. */
export function passesScript({ reads, sources }: Pass): string {
  const archive = reads
    ? "- /usr/include 2>/dev/null | cat >/dev/null"
    : "/dev/null /usr/include 2>/dev/null";
  return `n=0
while [ $n -lt "$1" ]; do
  grep -rc include /usr/include >/dev/null
  find /usr/lib /usr/share -size +100k >/dev/null
  find /usr/lib/python3 /usr/share/perl* -newer /etc/passwd >/dev/null
  tar cf ${archive}
  python3 -m compileall -q -f -o 0 ${sources} >/dev/null 2>&1
  n=$((n+1))
done
exit 0
`;
}
