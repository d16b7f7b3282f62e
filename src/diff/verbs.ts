/** What the verbs of canonical events (`canon/forms.ts`) have in common, for the rules. */

/** Calls that only ask. */
export const QUESTIONS: ReadonlySet<string> = new Set([
  ..."stat access readlink getcwd statfs fstatfs uname umask lseek fcntl ioctl".split(" "),
  ..."getrlimit prlimit64 getuid geteuid getgid getegid getgroups rt_sigaction".split(" "),
]);

/** What they give is bytes, or names, from elsewhere. */
export const READING: ReadonlySet<string> = new Set([
  ...["read", "receive", "pread", "readlink", "list", "getcwd"],
]);

/** Their results say how much the program wrote. */
export const WRITING: ReadonlySet<string> = new Set(["write", "pwrite", "send"]);

/** Calls of which any number may make one stream of bytes. */
export const STREAMING: ReadonlySet<string> = new Set(["read", "receive", "write", "send"]);

/** Calls that change what is under a name. */
export const MAKING = [
  ...["write", "pwrite", "copy", "rename", "link", "truncate", "ftruncate"],
  ...["unlink", "mkdir", "symlink", "mknod", "chmod", "fchmod", "chown", "fchown"],
];
