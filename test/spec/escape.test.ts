/** Ways out of a sandbox that have to fail, made by a program that is enforced with a supervisor (`escapes.c`). */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { availableParallelism, constants, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { syscallName } from "../../src/decode/context.js";
import { callNumber } from "../../src/spec/calls.js";
import { compilePolicy } from "../../src/spec/compile.js";
import { type Refusal, startEnforced } from "../../src/spec/enforce.js";
import type { Grant, Phase, Role, Spec } from "../../src/spec/model.js";
import { lacking } from "../support/tools.js";
import { compileStatic, roleOf, specWith, type Words } from "./support.js";

const { EACCES, EAGAIN, ESRCH, EPERM, EOPNOTSUPP, ENOSYS, EMSGSIZE, EPIPE, EXDEV, ELOOP } =
  constants.errno;
/** Nothing listens there. */
const PORT = "1";

let base = "";
let program = "";
/** The same, as another program. */
let second = "";

beforeAll(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "trace-escape-")));
  program = compileStatic("escapes", base);
  second = join(base, "second");
  copyFileSync(program, second);
});

beforeEach(() => {
  for (const name of ["file", "other", "link", "socket", "socketa", "socketb", "dir", "moved"])
    rmSync(join(base, name), { recursive: true, force: true });
  writeFileSync(join(base, "file"), "text");
});

afterAll(() => rmSync(base, { recursive: true, force: true }));

interface Tried {
  /** What it was granted besides what a program needs to start, `syscall` apart. */
  readonly grants?: Words;
  readonly calls?: string;
  /** A second role, which may make no call but those that a start needs. */
  readonly second?: boolean;
  readonly supervise?: "auto" | "always" | "never";
  readonly learn?: boolean;
  /** What it may look at, by default all. */
  readonly looks?: string;
}

function specOf({ grants = [], calls = "", second: two, looks = "/**" }: Tried): Spec {
  return specWith(
    roleOf("app", program, calls, [["exec", program], ["stat", looks], ...grants]),
    ...(two === true ? [{ ...roleOf("second", second, "", []), from: ["app"] }] : []),
  );
}

/** The errno of the attempt, 0 when it worked. */
async function tried(words: readonly string[], wanted: Tried, more: readonly Grant[] = []) {
  const { errno } = await attempted(words, wanted, more);
  return errno;
}

/** As `tried`, with what was refused meanwhile. `more`: of the first role. */
async function attempted(words: readonly string[], wanted: Tried, more: readonly Grant[] = []) {
  const refusals: Refusal[] = [];
  const { roles, ...rest } = specOf(wanted);
  const own = roles.map((role, k) =>
    k === 0 ? { ...role, grants: [...role.grants, ...more] } : role,
  );
  const running = startEnforced(
    { ...rest, roles: own },
    {
      tokens: {},
      supervise: wanted.supervise ?? "always",
      ...(wanted.learn !== undefined && { learn: wanted.learn }),
      // Some calls change the user, as which the supervisor does not act.
      weaker: true,
      command: [program, ...words],
      cwd: base,
      onRefusal: (refusal) => refusals.push(refusal),
    },
  );
  const status = await running.status;
  expect(status & 0x7f).toBe(0);
  expect(status >> 8, "the attempt was made").not.toBe(255);
  return { errno: status >> 8, refusals };
}

const at = (name: string) => join(base, name);

describe.skipIf(lacking("gcc"))("descriptors that are opened again", () => {
  const read: Words = [["read", "/**"]];

  it("give no more rights than the file was granted", async () => {
    for (const way of ["reopen", "reopen-at"]) {
      expect(await tried([way, at("file"), "read", "write"], { grants: read })).toBe(EACCES);
      expect(await tried([way, at("file"), "read", "both"], { grants: read })).toBe(EACCES);
      expect(await tried([way, at("file"), "path", "read"], {})).toBe(EACCES);
      expect(await tried([way, at("file"), "path", "write"], { grants: read })).toBe(EACCES);
    }
  });

  it("are opened again with the rights that they have", async () => {
    expect(await tried(["reopen", at("file"), "read", "read"], { grants: read })).toBe(0);
    expect(await tried(["reopen", at("file"), "path", "read"], { grants: read })).toBe(0);
  });

  it("are not linked to where more is granted", async () => {
    const grants: Words = [...read, ["create", at("link")], ["write", at("link")]];
    for (const way of ["link-held", "link-empty"]) {
      expect(await tried([way, at("file"), at("link")], { grants, calls: "linkat" })).toBe(EACCES);
    }
  });
});

describe.skipIf(lacking("gcc"))("calls that are many in one", () => {
  const number = (name: string) => `${callNumber(name)}`;
  const sockets = "socket(inet,dgram,udp) socket setsockopt ioctl";

  it.each(["always", "never"] as const)(
    "pass as what was granted (supervised: %s)",
    async (supervise) => {
      const of = (calls: string, ...words: string[]) =>
        attempted(words, { calls, supervise }).then(({ errno, refusals }) => [
          errno,
          ...refusals.map(({ grant }) => `${grant.verb} ${grant.object}`),
        ]);
      // SO_MARK
      expect(await of(sockets, "option", "1", "36")).toEqual([
        EPERM,
        "syscall setsockopt(SOL_SOCKET,SO_MARK)",
      ]);
      for (const granted of ["SOL_SOCKET,SO_MARK", "1,36", "SOL_SOCKET,*"])
        expect(await of(`${sockets} setsockopt(${granted})`, "option", "1", "36")).toEqual([0]);
      // SO_BROADCAST; a level that few programs use.
      expect(await of(sockets, "option", "1", "6")).toEqual([0]);
      expect(await of(sockets, "option", "263", "1")).toEqual([
        EPERM,
        "syscall setsockopt(SOL_PACKET,PACKET_ADD_MEMBERSHIP)",
      ]);
      // SIOCGIFFLAGS, SIOCSIFFLAGS
      expect(await of(sockets, "interface", "0x8913")).toEqual([0]);
      expect(await of(sockets, "interface", "0x8914")).toEqual([
        EPERM,
        "syscall ioctl(SIOCSIFFLAGS)",
      ]);
      // PR_SET_PTRACER of any, PR_GET_NO_NEW_PRIVS
      expect(await of("prctl", "call", number("prctl"), "0x59616d61", "-1", "0", "0")).toEqual([
        EPERM,
        "syscall prctl(PR_SET_PTRACER)",
      ]);
      expect(await of("prctl", "call", number("prctl"), "40", "0x10000", "0", "0")).not.toContain(
        EPERM,
      );
      // A new segment of shared memory, and one that others of the user find as well.
      expect(await of("shmget", "call", number("shmget"), "0x7ace", "4096", "0", "0")).toEqual([
        EPERM,
        "syscall shmget(31438)",
      ]);
      expect(await of("keyctl", "call", number("keyctl"), "11", "-3", "0", "0")).toEqual([
        EPERM,
        "syscall keyctl(KEYCTL_READ)",
      ]);
      expect(
        await of("keyctl keyctl(KEYCTL_DESCRIBE)", "call", number("keyctl"), "11", "-3", "0", "0"),
      ).toEqual([EPERM, "syscall keyctl(KEYCTL_READ)"]);
    },
  );
});

describe.skipIf(lacking("gcc") || process.getuid?.() !== 0)("programs of root", () => {
  const netlink = "socket socket(netlink,raw,0) sendto sendmsg ioctl";
  const granted = "sendto(netlink,route,16)";
  const udp = "socket socket(inet,dgram,udp) sendmsg";
  const peer: Words = [["connect", `udp:127.0.0.1:${PORT}`]];

  it.each(["always", "never"] as const)(
    "change no interface without leave (supervised: %s)",
    async (supervise) => {
      const ways = ["change-interface"];
      expect(await tried(ways, { calls: netlink, supervise })).toBe(EPERM);
      expect(await tried(ways, { calls: `${netlink} ${granted}`, supervise })).toBe(0);
    },
  );

  it.each(["always", "never"] as const)(
    "send no marked packets without leave (supervised: %s)",
    async (supervise) => {
      const ways = ["mark-message", PORT];
      const mark = "setsockopt(SOL_SOCKET,SO_MARK)";
      expect(await tried(ways, { calls: udp, grants: peer, supervise })).toBe(EPERM);
      expect(await tried(ways, { calls: `${udp} ${mark}`, grants: peer, supervise })).toBe(0);
    },
  );
});

describe.skipIf(lacking("gcc"))("addresses of no family", () => {
  const calls = "socket(inet,dgram,udp) socket sendto sendmsg bind connect";

  it("are checked as those that the kernel takes them for", async () => {
    for (const way of ["unspecified-send", "unspecified-message", "unspecified-bind"]) {
      expect(await tried([way, PORT], { calls })).toBe(EACCES);
    }
  });

  it("take a connection back", async () => {
    expect(await tried(["disconnect"], { calls })).toBe(0);
  });

  it("are sent to when that was granted", async () => {
    const grants: Words = [["connect", `udp:127.0.0.1:${PORT}`]];
    expect(await tried(["unspecified-send", PORT], { calls, grants })).toBe(0);
  });
});

describe.skipIf(lacking("gcc"))("calls that only one of two roles may make", () => {
  const calls = "clone ioctl unshare setns pipe pipe2";

  it("make no namespaces", async () => {
    for (const second of [false, true]) {
      expect(await tried(["clone-namespace"], { calls, second })).toBe(EPERM);
      expect(await tried(["unshare-namespace"], { calls, second })).toBe(EPERM);
      expect(await tried(["enter-namespace"], { calls, second })).toBe(EPERM);
    }
  });

  it("type into no terminal", async () => {
    for (const second of [false, true]) {
      expect(await tried(["type-into-terminal"], { calls, second })).toBe(EPERM);
    }
  });

  it("take no descriptors of another role", async () => {
    const own = { calls: "pidfd_open pidfd_getfd" };
    expect(await tried(["take-descriptor"], own)).toBe(0);
    expect([EPERM, ENOSYS]).toContain(await tried(["take-descriptor"], { ...own, second: true }));
  });

  it("do what else they do", async () => {
    for (const second of [false, true]) {
      for (const way of ["clone", "ioctl", "unshare-files"]) {
        expect(await tried([way], { calls, second })).toBe(0);
      }
    }
  });
});

describe.skipIf(lacking("gcc"))("messages", () => {
  it("do not connect", async () => {
    const calls = "socket(inet,stream,tcp) socket sendmsg sendmmsg sendto";
    for (const supervise of ["always", "never"] as const) {
      for (const many of ["one", "many"]) {
        expect(await tried(["fast-open", PORT, many], { calls, supervise })).toBe(EOPNOTSUPP);
      }
    }
    const plain = (supervise: "always" | "never") =>
      tried(["fast-open", PORT, "plain"], { calls, supervise });
    expect(await plain("always")).toBe(EACCES);
    expect(await plain("never")).toBe(EOPNOTSUPP);
  });

  it("end before one whose address was not granted", async () => {
    const calls = "socket(inet,dgram,udp) socket sendmmsg";
    const grants: Words = [["connect", `udp:127.0.0.1:${PORT}`]];
    expect(await tried(["send-between", PORT, "2"], { calls, grants })).toBe(1);
  });

  it("of more bytes than can be counted are refused", async () => {
    const calls = "socket(inet,dgram,udp) socket sendmsg";
    const grants: Words = [["connect", `udp:127.0.0.1:${PORT}`]];
    expect(await tried(["huge-pieces", PORT], { calls, grants })).toBe(EMSGSIZE);
  });
});

describe.skipIf(lacking("gcc"))("many messages", () => {
  const calls = "socketpair sendto sendmmsg rt_sigaction rt_sigreturn setitimer setsockopt";

  it("wait for room like one", async () => {
    expect(await tried(["send-when-full"], { calls })).toBe(constants.errno.EINTR);
  });

  it("are sent bit by bit when they hold much", async () => {
    expect(await tried(["send-many"], { calls })).toBe(0);
  });
});

describe.skipIf(lacking("gcc"))("refusals", () => {
  it("are told or counted, however many come while nobody listens", async () => {
    const calls = 6000;
    const command = [program, "read-often", "/etc/hostname", `${calls}`, at("done")];
    const refused = { told: 0, leftOut: 0 };
    const running = startEnforced(
      specOf({
        grants: [
          ["create", at("done")],
          ["write", at("done")],
        ],
      }),
      {
        tokens: {},
        supervise: "always",
        weaker: true,
        command,
        cwd: base,
        onRefusal: () => {
          refused.told++;
        },
        onLeftOut: (count) => {
          refused.leftOut += count;
        },
      },
    );
    // Nothing is taken meanwhile.
    const word = new Int32Array(new SharedArrayBuffer(4));
    while (!existsSync(at("done")) && existsSync(`/proc/${running.pid}`))
      Atomics.wait(word, 0, 0, 1);
    expect(await running.status).toBe(0);
    expect(refused.leftOut).toBeGreaterThan(0);
    expect(refused.told + refused.leftOut).toBe(calls);
  });
});

describe.skipIf(lacking("gcc"))("core files", () => {
  const calls = "setrlimit fork clone wait4 chdir rt_sigaction set_robust_list gettid";

  it("are left by nobody, in a directory that another role may write to", async () => {
    mkdirSync(at("dir"));
    const { roles, ...rest } = specOf({ calls, second: true });
    const [first, other] = roles as [Role, Role];
    const makes: Grant[] = [
      { verb: "create", object: `${at("dir")}/**` },
      { verb: "write", object: `${at("dir")}/**` },
    ];
    const running = startEnforced(
      { ...rest, roles: [first, { ...other, grants: [...other.grants, ...makes] }] },
      {
        tokens: {},
        supervise: "auto",
        weaker: true,
        command: [program, "leave-core", at("dir")],
        cwd: base,
        onRefusal: () => {},
      },
    );
    expect(await running.status).toBe(0);
    expect(readdirSync(at("dir"))).toEqual([]);
  });

  it("are not made larger, by root either", async () => {
    for (const call of ["setrlimit", "prlimit64"]) {
      const { errno, refusals } = await attempted(["limit-core", call, "any"], { calls });
      expect(errno, call).toBe(EPERM);
      expect(refusals.map(({ object, forbidden }) => [object, forbidden])).toEqual([
        [`${call}(RLIMIT_CORE)`, true],
      ]);
      // Programs that start others put limits back to what is usual: none now, and any later.
      for (const size of ["none", "none-now"])
        expect(await tried(["limit-core", call, size], { calls }), call).toBe(0);
    }
  });
});

describe.skipIf(lacking("gcc"))("names of /proc", () => {
  it("mean the program, and not its supervisor, behind links too", async () => {
    const grants: Words = [["read", "/**"]];
    for (const way of [
      "/proc/self/stat",
      "/proc/self/root/proc/self/stat",
      "/proc/thread-self/stat",
    ]) {
      expect(await tried(["whose", way], { grants })).toBe(0);
    }
  });
});

/** Calls with paths that nobody checks. */
const UNCHECKED =
  "setxattrat getxattrat listxattrat removexattrat file_getattr file_setattr name_to_handle_at open_by_handle_at fanotify_init fanotify_mark userfaultfd";

describe.skipIf(lacking("gcc"))("calls that a supervisor judges", () => {
  it("have a rule each", async () => {
    const socket: Words = [["bind", `unix:${at("socket")}`]];
    const { judged } = compilePolicy(specOf({ grants: socket }), {
      tokens: {},
      supervise: "always",
    }).policy;
    expect(judged.length).toBeGreaterThan(90);
    const without: string[] = [];
    for (const number of judged) {
      const name = syscallName(0, number);
      const words = ["numbered", String(number), at("file")];
      const errno = await tried(words, { calls: name, grants: socket });
      if (errno === ENOSYS) without.push(name);
    }
    expect(without.sort()).toEqual(UNCHECKED.split(" ").filter(callNumber).sort());
  });
});

describe.skipIf(lacking("gcc"))("calls of newer kernels", () => {
  it("with paths that nobody checks are refused as by a kernel that lacks them", async () => {
    for (const name of UNCHECKED.split(" ")) {
      const number = callNumber(name);
      if (number === undefined) continue;
      const words = ["numbered", String(number), at("file")];
      expect(await tried(words, { calls: name }), name).toBe(ENOSYS);
    }
  });
});

describe.skipIf(lacking("gcc"))("what is exchanged while a call is looked at", () => {
  const common = "socket(inet,stream,tcp) socket(inet,dgram,udp) socket(unix,stream,0) socket";

  it("is sent to no address that was not granted", async () => {
    const calls = `${common} sendmsg dup dup2 clone`;
    for (const family of ["inet", "unix"]) {
      expect(await tried(["exchange-send", PORT, family], { calls }), family).toBe(EACCES);
    }
  });

  it("tells no more than fstat", async () => {
    for (const name of ["socketa", "socketb"]) writeFileSync(at(name), "");
    const inode = String(statSync(at("socketb")).ino);
    const calls = "clone getxattr";
    const errno = await tried(["exchange-path", at("socket"), inode, "ask"], {
      calls,
      looks: at("socketa"),
    });
    // The moment may not have come.
    expect([EACCES, ESRCH]).toContain(errno);
  });

  it("gives no socket another name", async () => {
    const grants: Words = [
      ["bind", `unix:${at("socketa")}`],
      ["delete", at("socketa")],
    ];
    const calls = `${common} bind clone unlink access faccessat2 faccessat`;
    expect(await tried(["exchange-bind", at("socket")], { calls, grants })).toBe(EACCES);
  });
});

describe.skipIf(lacking("gcc"))("sockets of files", () => {
  const calls =
    "socketpair sendmsg recvmsg fork clone wait4 rt_sigaction socket(unix,stream,0) socket bind listen getsockname connect accept set_robust_list gettid";

  it("take large streams whole, and descriptors", async () => {
    expect(await tried(["stream-whole"], { calls })).toBe(0);
    const grants: Words = [["read", at("file")]];
    for (const kind of ["stream", "dgram"]) {
      expect(await tried(["pass-descriptor", at("file"), kind], { calls, grants }), kind).toBe(0);
    }
  });

  it("tell by a signal that nobody reads", async () => {
    expect(await tried(["broken-pipe", "loud"], { calls })).toBe(EPIPE);
    expect(await tried(["broken-pipe", "silent"], { calls })).toBe(EPIPE);
  });

  it("have the names that they were given", async () => {
    const own: Words = [
      ["bind", `unix:${at("socket")}`],
      ["listen", `unix:${at("socket")}`],
    ];
    for (const name of [at("socket"), "socket", "./socket"]) {
      rmSync(at("socket"), { force: true });
      expect(await tried(["bound-name", name], { calls, grants: own }), name).toBe(0);
    }
    rmSync(at("socket"), { force: true });
    expect(await tried(["bound-name", "socket"], { calls, grants: own.slice(0, 1) })).toBe(EACCES);
    expect(await tried(["bound-name", at("other")], { calls, grants: own })).toBe(EACCES);
  });

  it("let a program be run that was granted from the first connection on", async () => {
    const socket = `unix:${at("socket")}`;
    const grants: Words = [
      ["bind", socket],
      ["listen", socket],
      ["connect", socket],
      ["accept", socket],
    ];
    const words = ["serve-and-run", at("socket"), second];
    const run = (phase: Phase) => {
      rmSync(at("socket"), { force: true });
      return tried(words, { calls, second: true, grants: [...grants, ["exec", second, phase]] });
    };
    expect(await run("serve")).toBe(0);
    expect(await run("init")).toBe(EACCES);
  });
});

describe.skipIf(lacking("gcc"))("what was granted before the first connection", () => {
  it("is nobody's whom one that serves has made, whoever its parent is", async () => {
    const calls =
      "fork clone set_robust_list pipe pipe2 socket(unix,stream,0) socket bind listen connect accept";
    const socket = `unix:${at("socket")}`;
    const grants: Words = [
      ...(["bind", "listen", "connect", "accept"] as const).map((verb) => [verb, socket] as const),
      ["read", at("file"), "init"],
    ];
    for (const whose of ["child", "sibling"]) {
      rmSync(at("socket"), { force: true });
      const words = ["open-as-sibling", at("socket"), at("file"), whose];
      expect(await tried(words, { calls, grants }), whose).toBe(EACCES);
    }
  });
});

describe.skipIf(lacking("gcc"))("a supervisor", () => {
  it("is not made to wait for the program when it opens files", async () => {
    const calls = "fcntl";
    const grants: Words = [
      ["read", at("file")],
      ["write", at("file")],
    ];
    expect(await tried(["lease", at("file"), "ask"], { calls, grants })).toBe(0);
    expect(await tried(["lease", at("file"), "take"], { calls, grants })).toBe(EAGAIN);
  });

  it("does not follow links that lead to each other ever more often", async () => {
    const links = join(base, "links");
    mkdirSync(links);
    symlinkSync("/proc/self/cwd", join(links, "l0"));
    for (let k = 1; k < 20; k++) symlinkSync(`l${k - 1}/l${k - 1}`, join(links, `l${k}`));
    const grants: Words = [["list", "/**"]];
    const open = (name: string) => tried(["open", join(links, name), "read"], { grants });
    // Those stand in the directory in which the program does.
    expect(await open("l0")).toBe(0);
    expect(await open("l0/links/l0")).toBe(0);
    for (let k = 0; k < 20; k++) symlinkSync(join(links, `l${k}`), at(`l${k}`));
    expect(await open("l2")).toBe(0);
    expect(await open("l19")).toBe(ELOOP);
    for (let k = 0; k < 20; k++) rmSync(at(`l${k}`));
    rmSync(links, { recursive: true });
  });

  it("does not wait where a socket is made to wait behind its back", async () => {
    const socket = `unix:${at("socket")}`;
    const grants: Words = [
      ...(["bind", "listen", "accept", "connect"] as const).map((verb) => [verb, socket] as const),
      ["signal", "role:app"],
    ];
    const calls = `socket(unix,stream,0) socket bind listen accept connect sendmsg fork clone set_robust_list fcntl prctl
      rt_sigaction rt_sigreturn setitimer alarm clock_nanosleep kill`;
    for (const way of ["accept", "connect", "send"]) {
      rmSync(at("socket"), { force: true });
      expect(await tried(["toggle", way, at("socket")], { calls, grants }), way).toBe(0);
    }
  });

  it("does not wait for bytes that are left on a connection", async () => {
    const grants: Words = [
      ["bind", "tcp:127.0.0.1:0"],
      ...(["listen", "accept", "connect"] as const).map(
        (verb) => [verb, "tcp:127.0.0.1:*"] as const,
      ),
    ];
    const calls = `socket(inet,stream,tcp) socket bind listen accept connect getsockname sendmsg setsockopt fcntl clone wait4
      alarm      clock_nanosleep`;
    expect(await tried(["linger", at("file")], { calls, grants })).toBe(0);
  });

  it.skipIf(availableParallelism() < 2)(
    "answers others while one takes a descriptor late",
    async () => {
      const grants: Words = [
        ["read", at("file")],
        ["read", "/proc/*/status"],
        ["signal", "role:app"],
      ];
      const calls = `sched_setaffinity sched_getaffinity sched_setscheduler prctl getrusage pread64 clone fork
        set_robust_list alarm kill`;
      expect(await tried(["overtake", at("file")], { calls, grants })).toBe(0);
    },
    120_000,
  );

  it("opens no named pipe that a program wants to run", async () => {
    const pipe = at("socket");
    expect(spawnSync("mkfifo", ["-m", "777", pipe]).status).toBe(0);
    for (const learn of [false, true])
      expect(await tried(["run", pipe], { calls: "alarm", grants: [["exec", pipe]], learn })).toBe(
        EACCES,
      );
  });

  const takeLease = `import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print(flush=True); sys.stdin.read()`;

  it.skipIf(lacking("python3"))("answers others while one waits for a lease", async () => {
    const holder = spawn("python3", ["-c", takeLease, at("file")]);
    try {
      await once(holder.stdout, "data");
      const calls = "fork clone set_robust_list truncate kill wait4 alarm clock_nanosleep";
      const grants: Words = [
        ["write", at("file")],
        ["signal", "role:app"],
      ];
      expect(await tried(["hold-up", at("file")], { calls, grants })).toBe(0);
    } finally {
      holder.kill();
    }
  });

  it.each([false, true])("says what no grant allows (learning: %s)", async (learn) => {
    const grants: Words = [
      ["read", "/**"],
      ["write", "/**"],
    ];
    const told = async (words: readonly string[], calls: string) => {
      const { errno, refusals } = await attempted(words, { calls, grants, learn });
      return [errno, ...refusals.map(({ object, forbidden }) => [object, forbidden])];
    };
    expect(await told(["lease", at("file"), "take"], "fcntl")).toEqual([
      EAGAIN,
      ["fcntl(F_SETLEASE)", true],
    ]);
    const holdUp = ["call", `${callNumber("userfaultfd")}`, "0", "0", "0", "0"];
    for (const calls of ["userfaultfd", ""].slice(0, learn ? 2 : 1))
      expect(await told(holdUp, calls)).toEqual([ENOSYS, ["userfaultfd", true]]);
    expect(await told(["unshare-namespace"], "unshare")).toEqual([EPERM, ["unshare", true]]);
  });

  it("is there for directories in which there are others", async () => {
    mkdirSync(at("dir/deep"), { recursive: true });
    writeFileSync(at("dir/deep/file"), "text");
    for (const read of [at("dir/*"), `${base}/d*/*`, `${base}/d*/x/**`])
      expect(
        await tried(["open", at("dir/deep/file"), "read"], {
          grants: [["read", read]],
          supervise: "auto",
        }),
        read,
      ).toBe(EACCES);
  });

  it("knows processes whose names are no text", async () => {
    const calls = "umask prctl fork clone set_robust_list wait4 fstat newfstatat";
    const grants: Words = [
      ["create", at("other")],
      ["read", at("other")],
      ["write", at("other")],
    ];
    expect(await tried(["odd-name", at("other")], { calls, grants })).toBe(0);
  });
});

describe.skipIf(lacking("gcc"))("a process that has ended", () => {
  it("has its role until it is waited for, and then is nobody", async () => {
    const calls = "fork clone set_robust_list kill waitid wait4";
    for (const way of ["calls", "silent"]) {
      const granted = { calls, grants: [["signal", "role:app"]] as const };
      expect(await tried(["signal-ended", way], granted), way).toBe(0);
      expect(await tried(["signal-ended", way], { calls }), way).toBe(EPERM);
    }
  });
});

describe.skipIf(lacking("gcc"))("other names", () => {
  const calls = "rename renameat renameat2 link linkat";
  it("give a file no more than it was granted", async () => {
    for (const [verb, errno] of [
      ["read", EXDEV],
      ["write", EXDEV],
      ["delete", 0],
    ] as const) {
      writeFileSync(at("file"), "text");
      const grants: Words = [
        ["rename", at("file")],
        ["rename", at("other")],
        [verb, at("other")],
      ];
      expect(await tried(["rename", at("file"), at("other")], { calls, grants }), verb).toBe(errno);
    }
    writeFileSync(at("file"), "text");
    writeFileSync(at("other"), "text");
    const grants: Words = [
      ["rename", at("file")],
      ["rename", at("other")],
      ["read", at("file")],
    ];
    expect(await tried(["exchange", at("file"), at("other")], { calls, grants })).toBe(EXDEV);
    rmSync(at("other"));
    const link: Words = [
      ["write", at("file")],
      ["create", at("other")],
      ["read", at("other")],
    ];
    expect(await tried(["link", at("file"), at("other")], { calls, grants: link })).toBe(EXDEV);
  });

  it("give what a directory holds no more than it was granted", async () => {
    const names: Words = [
      ["rename", at("dir")],
      ["rename", at("moved")],
    ];
    const run = async (grants: Words) => {
      rmSync(at("moved"), { recursive: true, force: true });
      mkdirSync(at("dir"), { recursive: true });
      return tried(["rename", at("dir"), at("moved")], { calls, grants: [...names, ...grants] });
    };
    expect(await run([["read", at("moved/key")]])).toBe(EXDEV);
    expect(await run([["write", `${at("moved")}/**`]])).toBe(EXDEV);
    expect(await run([["delete", at("moved/key")]])).toBe(0);
    const same: Words = [
      ["read", at("dir/key")],
      ["read", at("moved/key")],
    ];
    expect(await run(same)).toBe(0);
    expect(await run([["read", `${base}/**`]])).toBe(0);
  });

  it("are given to what may be used by them", async () => {
    const grants: Words = [
      ["rename", at("file")],
      ["rename", at("other")],
      ["read", at("file")],
      ["read", at("other")],
    ];
    expect(await tried(["rename", at("file"), at("other")], { calls, grants })).toBe(0);
  });
});

describe.skipIf(lacking("gcc") || process.geteuid?.() !== 0)("a program that is root", () => {
  const become = (uid: string, calls: string) => tried(["become", uid], { calls });

  it("stays root when nobody has granted that it becomes another user", async () => {
    expect(await become("0", "setuid")).toBe(0);
    expect(await become("65534", "setuid")).toBe(EPERM);
    expect(await become("65534", "setuid setuid(65533)")).toBe(EPERM);
    expect(await become("65534", "setuid setuid(65534)")).toBe(0);
  });
});

describe.skipIf(lacking("gcc"))("one of a pair of sockets", () => {
  const receive = `import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
    receiver.bind(sys.argv[1]); print(flush=True); sys.stdin.read()`;

  it.skipIf(lacking("python3"))("sends to nobody else", async () => {
    const receiver = spawn("python3", ["-c", receive, at("socket")]);
    await once(receiver.stdout, "data");
    try {
      const run = (way: string, calls: string, ...more: Grant[]) => {
        const wanted = { calls: `socketpair ${calls}`, supervise: "auto" } as const;
        return tried(["pair", way, at("socket")], wanted, more);
      };
      const alias: Grant = { verb: "syscall", object: "sendmsg", because: "alias" };
      for (const way of ["connect", "send", "message"])
        expect(await run(way, "connect sendto sendmsg"), way).toBe(EACCES);
      expect(await run("send", "sendto", alias)).toBe(EOPNOTSUPP);
      expect(await run("message", "sendto", alias)).toBe(EPERM);
      expect(await run("own", "sendto", alias)).toBe(0);
      expect(await run("own", "sendto sendmsg")).toBe(0);
    } finally {
      receiver.kill();
    }
  });

  it("needs no supervisor to send to the other", () => {
    const reasons = (calls: string) =>
      compilePolicy(specOf({ calls }), { tokens: {}, supervise: "auto" }).reasons;
    expect(reasons("socketpair sendto recvfrom")).toEqual([]);
    expect(reasons("socketpair sendmsg")).toEqual([expect.stringContaining("reach any address")]);
    expect(reasons("socketpair sendto socket(netlink,raw,0) socket")).toHaveLength(1);
  });
});

describe.skipIf(lacking("gcc"))("files beside one that a program makes", () => {
  it("are not opened by it, though it is not said that it be supervised", async () => {
    const grants = (["create", "read", "write"] as const).map(
      (verb) => [verb, at("other")] as const,
    );
    for (const way of ["read", "write"])
      expect(await tried(["look", at("file"), way], { grants, supervise: "auto" }), way).toBe(
        EACCES,
      );
  });

  it("need no supervisor where all of them were granted", () => {
    const reasons = (...grants: Words) =>
      compilePolicy(specOf({ grants }), { tokens: {}, supervise: "auto" }).reasons;
    const own: Words = [
      ["create", at("other")],
      ["write", at("other")],
    ];
    const tree = `${base}/**`;
    const why = expect.stringContaining("Landlock gives all others");
    expect(reasons(...own)).toEqual([why]);
    expect(reasons(...own, ["write", tree], ["create", tree])).toEqual([]);
    expect(reasons(...own, ["write", tree])).toEqual([why]);
    expect(reasons(["create", `${base}/#tmpfile`])).toEqual([why]);
    for (const verb of ["create", "delete", "rename"] as const)
      expect(reasons([verb, at("other")]), verb).toEqual([why]);
    expect(reasons(["write", at("file")])).toEqual([]);
  });
});

describe.skipIf(lacking("gcc"))("what is told of a file", () => {
  it("is not changed by a program of which all such calls had failed", async () => {
    const grants: Words = [["read", at("file")]];
    const calls = "chmod chown utimensat fchmod";
    for (const way of ["mode", "owner", "times", "held"]) {
      const run = (more: Words) =>
        tried(["change", way, at("file")], {
          calls,
          grants: [...grants, ...more],
          supervise: "auto",
        });
      expect(await run([]), way).toBe(EACCES);
      expect(await run([["chmeta", at("file")]]), way).toBe(0);
    }
  });
});

describe.skipIf(lacking("gcc"))("another role", () => {
  const calls = "setpgid pipe2 fork clone wait4 kill dup2 ptrace set_robust_list gettid";
  const run = (words: readonly string[], grants: Words, more = "") => {
    const all: Words = [["exec", second], ...grants];
    return tried(words, { calls: `${calls} ${more}`, second: true, grants: all });
  };

  it("is not written to as the one whose place it has taken", async () => {
    // A link to a link, and so on, each by many directories: the last one is what is read.
    const links = join(base, "links");
    mkdirSync(join(links, "d"), { recursive: true });
    for (let k = 0; k < 35; k++)
      symlinkSync(`${"d/../".repeat(800)}l${k + 1}/.`, join(links, `l${k}`));
    symlinkSync(".", join(links, "l35"));
    symlinkSync("some text", join(links, "d", "last"));
    for (let k = 0; k < 5; k++)
      expect(await run(["write-behind", join(links, "l0/d/last"), second], [])).toBe(EACCES);
    rmSync(links, { recursive: true });
  });

  it("gets no signal as one of a group whose leader may get it", async () => {
    const own: Words = [
      ["signal", "role:app"],
      ["signal", "self"],
    ];
    for (const way of ["one", "group"]) {
      expect(await run(["signal-other", way, second], own), way).toBe(EPERM);
      expect(await run(["signal-other", way, second], [...own, ["signal", "role:second"]])).toBe(0);
    }
    expect(await run(["signal-other", "group", second], [["signal", "group"]])).toBe(0);
  });

  it("is not traced once it runs, by who traced what it was before", async () => {
    const own: Words = [
      ["ptrace", "role:app"],
      ["ptrace", "group"],
    ];
    expect(await run(["trace-other", second], own)).toBe(EPERM);
    expect(await run(["trace-other", second], [...own, ["ptrace", "role:second"]])).toBe(0);
  });

  it("is not looked at for what it has open, and where it stands", async () => {
    for (const way of ["file", "link", "past", "open"]) {
      const look = (...more: Words) =>
        run(["look-held", way, at("file"), second], [["read", at("file")], ...more]);
      expect(await look(), way).toBe(EACCES);
      expect(await look(["ptrace", "role:second"]), way).toBe(0);
    }
  });

  it("is not looked into past all files", async () => {
    const more = "kcmp get_robust_list move_pages perf_event_open";
    for (const way of ["compare", "list", "move"]) {
      const look = (whom: string, grants: Words = []) =>
        run(["look-into", way, whom, second], grants, more);
      expect(await look("own", [["ptrace", "self"]]), way).toBe(0);
      expect(await look("other"), way).toBe(EPERM);
      const both: Words = [
        ["ptrace", "self"],
        ["ptrace", "role:second"],
      ];
      expect(await look("other", both), way).toBe(0);
    }
    for (const whom of ["other", "-1"])
      expect(await run(["look-into", "count", whom, second], [], more), whom).toBe(EPERM);
  });
});

describe.skipIf(lacking("gcc"))("calls that nobody has heard of", () => {
  it("are answered as by a kernel that lacks them", async () => {
    for (const supervise of ["always", "never"] as const) {
      // Behind all numbers, and getpid(2) of the x32 ABI.
      for (const number of ["600", "0x40000027"])
        expect(await tried(["unheard-of", number], { supervise }), number).toBe(ENOSYS);
    }
  });
});

describe.skipIf(lacking("gcc"))("names that are resolved with restrictions", () => {
  const BENEATH = "0x8";
  const IN_ROOT = "0x10";
  const NO_SYMLINKS = "0x4";
  const open = (name: string, resolve: string, grants: Words, how = "read") => {
    const all: Words = [["list", base], ...grants];
    return tried(["resolve", base, name, resolve, how], { calls: "openat2", grants: all });
  };

  it("lead to what they would without enforcement", async () => {
    symlinkSync("file", at("link"));
    const read: Words = [["read", at("file")]];
    for (const resolve of ["0x1", "0x2", NO_SYMLINKS, BENEATH, IN_ROOT])
      expect(await open("file", resolve, read), resolve).toBe(0);
    expect(await open("link", BENEATH, read)).toBe(0);
    expect(await open("link", NO_SYMLINKS, read)).toBe(ELOOP);
    expect(await open("/file", IN_ROOT, read)).toBe(0);
    expect(await open("/file", BENEATH, read)).toBe(EXDEV);
    expect(await open("../file", BENEATH, [["read", "/**"]])).toBe(EXDEV);
    expect(await open("../file", IN_ROOT, read)).toBe(0);
    const create: Words = [
      ["create", at("other")],
      ["write", at("other")],
    ];
    expect(await open("other", BENEATH, create, "write")).toBe(0);
  });

  it("lead to nothing that was not granted", async () => {
    symlinkSync("file", at("link"));
    for (const resolve of [BENEATH, IN_ROOT]) {
      expect(await open("file", resolve, []), resolve).toBe(EACCES);
      expect(await open("link", resolve, [["read", at("link")]]), resolve).toBe(EACCES);
      expect(await open("other", resolve, [], "write"), resolve).toBe(EACCES);
    }
  });
});

describe.skipIf(lacking("gcc"))("files that are granted for reading", () => {
  it("are not changed by requests to their file system", async () => {
    const grants: Words = [["read", at("file")]];
    const calls = "ioctl";
    // Not every file system has flags of files.
    const can = await tried(["alter", at("file")], {
      calls,
      grants: [...grants, ["chmeta", at("file")]],
    });
    expect([0, EOPNOTSUPP]).toContain(can);
    expect(await tried(["alter", at("file")], { calls, grants })).toBe(EACCES);
    const alone = { calls, grants, supervise: "never" } as const;
    expect(await tried(["alter", at("file")], alone)).toBe(EPERM);
  });
});

describe.skipIf(lacking("gcc"))("what others open", () => {
  it("is nobody's who was granted the call that tells of it", async () => {
    const calls = "fanotify_init fanotify_mark";
    for (const [supervise, errno] of [
      ["always", ENOSYS],
      ["never", EPERM],
    ] as const)
      expect(await tried(["watch-all", base], { calls, supervise }), supervise).toBe(errno);
  });
});

describe.skipIf(lacking("gcc"))("processes outside", () => {
  const calls =
    "prlimit64 sched_getaffinity sched_setaffinity setpriority socketpair fcntl ioctl prctl";
  // Not this one, whose files of /proc are the program's own where it names them.
  const outside = String(process.ppid);

  it("are not told how to run", async () => {
    for (const supervise of ["always", "never"] as const) {
      for (const what of ["limit", "turn", "priority"]) {
        const run = (pid: string) => tried(["control", what, pid], { calls, supervise });
        expect(await run("0"), what).toBe(0);
        expect(await run("own"), what).toBe(0);
        expect(await run(outside), what).toBe(EPERM);
      }
      for (const all of ["group", "user"])
        expect(await tried(["control", all, "0"], { calls, supervise }), all).toBe(EPERM);
      expect(await tried(["control", "ask", outside], { calls, supervise })).toBe(0);
    }
  });

  it("are told how to run by whom that was granted", async () => {
    const grants: Words = [["ptrace", "outside"]];
    expect(await tried(["control", "limit", outside], { calls, grants })).toBe(0);
  });

  it("get no signals for what another one reads", async () => {
    for (const way of ["plain", "struct", "ioctl"])
      expect(await tried(["own", way, outside], { calls }), way).toBe(EPERM);
    expect(await tried(["own", "plain", "own"], { calls })).toBe(0);
  });

  it("do not have told by links of /proc what they run, where they stand and what they have open", async () => {
    for (const name of ["exe", "cwd", "root", "fd/0", "ns/user"]) {
      const read = (pid: string, grants: Words = []) =>
        tried(["read-link", `/proc/${pid}/${name}`], { grants });
      expect(await read(outside), name).toBe(EACCES);
      expect(await read("self"), name).toBe(0);
      expect(await read(outside, [["ptrace", "outside"]]), name).toBe(0);
    }
    expect(await tried(["read-link", "/proc/self"], {})).toBe(0);
  });

  it("are not looked into by files of /proc, whatever their names are granted as", async () => {
    const grants: Words = [
      ["read", "/proc/**"],
      ["write", "/proc/**"],
    ];
    const look = (name: string, how: string, more: Words = []) =>
      tried(["look", name, how], { grants: [...grants, ...more] });
    for (const name of ["environ", "maps", "mem"]) {
      expect(await look(`/proc/${outside}/${name}`, "read"), name).toBe(EACCES);
      expect(await look(`/proc/self/${name}`, "read"), name).toBe(0);
    }
    expect(await look(`/proc/${outside}/task/${outside}/mem`, "write")).toBe(EACCES);
    expect(await look(`/proc/${outside}/oom_score_adj`, "write")).toBe(EACCES);
    expect(await look(`/proc/${outside}/stat`, "read")).toBe(0);
    expect(await look(`/proc/${outside}/environ`, "read", [["ptrace", "outside"]])).toBe(0);
  });

  const hold = `import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); os.unlink(sys.argv[1])
sys.stdout.write(f"{os.getpid()} {fd} {os.memfd_create('memory')}"); sys.stdout.flush(); sys.stdin.read()`;

  it.skipIf(lacking("python3"))("keep what they hold that has no name any more", async () => {
    const holder = spawn("python3", ["-c", hold, at("other")]);
    try {
      const [line] = await once(holder.stdout, "data");
      const [pid, ...held] = String(line).trim().split(" ");
      const grants: Words = [
        ["read", "/**"],
        ["write", "/**"],
      ];
      for (const fd of held)
        for (const how of ["read", "write"])
          expect(await tried(["look", `/proc/${pid}/fd/${fd}`, how], { grants })).toBe(EACCES);
      expect(held).toHaveLength(2);
    } finally {
      holder.kill();
    }
  });

  it("keep that from who takes hold of it past the check", async () => {
    writeFileSync(at("socketa"), "");
    const wanted: Tried = {
      calls: "clone pipe pipe2 symlink getxattr chmod linkat pause kill",
      looks: at("socketa"),
      grants: [
        ["create", at("#tmpfile")],
        ["create", at("socketb")],
        ["create", at("link")],
        ["signal", "role:app"],
      ],
    };
    for (const way of ["ask", "read", "change", "link"]) {
      rmSync(at("socketb"), { force: true });
      const errno = await tried(["exchange-held", at("socket"), way], wanted);
      // The moment may not have come.
      expect([EACCES, ESRCH], way).toContain(errno);
    }
  });
});

describe.skipIf(lacking("gcc"))("packets", () => {
  it("go straight to the address that was checked", async () => {
    const calls = "socket(inet,dgram,udp) socket setsockopt";
    for (const supervise of ["always", "never"] as const) {
      expect(await tried(["route", "there"], { calls, supervise })).toBe(EPERM);
      expect(await tried(["route", "back"], { calls, supervise })).toBe(0);
    }
  });
});

describe.skipIf(lacking("gcc"))("sockets that were made to no end", () => {
  it("reach nothing else", async () => {
    const calls = "socket(unix,stream,0) socket connect";
    const server = createServer().listen(at("socket"));
    await once(server, "listening");
    try {
      const grants: Words = [["connect", `unix:${at("socket")}`]];
      const run = (granted: Words) =>
        tried(["connect", at("socket")], { calls, grants: granted, supervise: "auto" });
      expect(await run(grants)).toBe(0);
      expect(await run([])).toBe(EACCES);
    } finally {
      server.close();
    }
  });
});

describe.skipIf(lacking("gcc"))("a program that nobody may look into", () => {
  it("is answered as others are", async () => {
    const grants: Words = [["read", at("file")]];
    expect(await tried(["undumpable", at("file")], { grants, calls: "prctl" })).toBe(0);
  });
});

describe("names that lead to whoever uses them", () => {
  it("make no rules of what this process has open", () => {
    const grants: Words = [
      ["read", "/dev/fd/0"],
      ["write", "/proc/self/fd/1"],
      ["read", "/proc/thread-self/maps"],
      ["read", `/proc/${process.pid}/environ`],
      ["read", base],
    ];
    const { landlock, roles } = compilePolicy(specOf({ grants }), {
      tokens: {},
      supervise: "auto",
    }).policy;
    const paths = landlock.rules.map(({ path }) => path);
    expect(paths).toContain(base);
    expect(paths.filter((path) => /^\/(?:dev|proc)\//.test(path))).toEqual([]);
    const own = new RegExp(`^/proc/${process.pid}/(?:fd|task)/`);
    expect(roles[0]?.grants.filter(({ object }) => own.test(object))).toEqual([]);
  });
});

describe("opening what exists", () => {
  const opens = (...grants: Words) => {
    // A supervisor is needed for something else.
    const spec = specOf({ grants: [...grants, ["connect", "udp:127.0.0.1:9"]] });
    const roles = spec.roles.map((role) => ({
      ...role,
      grants: role.grants.filter(({ object }) => object !== program),
    }));
    return compilePolicy({ ...spec, roles }, { tokens: {}, supervise: "auto" }).policy.opens;
  };
  const both = { reading: true, writing: true };
  const none = { reading: false, writing: false };

  it("is left to the kernel where that holds all grants to the letter", () => {
    mkdirSync(at("dir"), { recursive: true });
    writeFileSync(at("file"), "");
    symlinkSync(at("file"), at("link"));
    expect(opens(["read", at("file")], ["write", at("file")])).toEqual(both);
    expect(opens(["read", `${at("dir")}/**`])).toEqual(both);
    expect(opens(["read", at("file")], ["read", at("link")])).toEqual(both);
    expect(opens(["read", at("link")])).toEqual(none);
    expect(opens(["read", at("gone")])).toEqual(none);
    expect(opens(["list", at("dir")])).toEqual(none);
    expect(opens(["read", `${at("dir")}/x*`])).toEqual(none);
    expect(opens(["read", at("file")], ["delete", at("file")])).toEqual(none);
    expect(opens(["read", at("file"), "init"])).toEqual(none);
    expect(opens(["read", at("file")], ["write", at("dir/new")])).toEqual({
      reading: true,
      writing: false,
    });
  });

  it("is not where there are two roles: one would open what the other holds", () => {
    const spec = specOf({ second: true });
    const grants: Grant[] = [{ verb: "read", object: at("file") }];
    const roles = spec.roles.map((role) => ({ ...role, grants }));
    const opensOf = (own: readonly Role[]) =>
      compilePolicy({ ...spec, roles: own }, { tokens: {}, supervise: "auto" }).policy;
    expect(opensOf(roles)).toMatchObject({ supervised: true, opens: none });
    const [first] = roles;
    if (first === undefined) throw new Error("there is no role");
    const chmeta: Grant = { verb: "chmeta", object: at("file") };
    const alone = { ...first, grants: [...grants, chmeta] };
    expect(opensOf([alone])).toMatchObject({ supervised: true, opens: both });
  });

  it("is refused there all the same, in a program that is supervised for something else", async () => {
    const run = async (...words: string[]) => {
      const grants: Words = [
        ["read", at("file")],
        ["write", at("file")],
        ["connect", "udp:127.0.0.1:9"],
      ];
      const spec = specOf({ grants });
      const running = startEnforced(spec, {
        tokens: {},
        supervise: "auto",
        weaker: true,
        command: [program, ...words],
        cwd: base,
        onRefusal: () => {},
      });
      expect(running.policy).toMatchObject({ supervised: true, opens: both });
      return (await running.status) >> 8;
    };
    writeFileSync(at("other"), "text");
    expect(await run("reopen", at("file"), "read", "read")).toBe(0);
    expect(await run("reopen", at("file"), "write", "write")).toBe(0);
    expect(await run("reopen", at("other"), "read", "read")).toBe(255);
    expect(await run("open-oddly", at("file"))).toBe(0);
    expect(await run("open-oddly", at("other"))).toBe(EACCES);
  });
});
