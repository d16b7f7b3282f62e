/*
 * Ways out of a sandbox, one a run: `escapes WAY [WORD...]`. The exit code is the errno of the attempt, 0 when it worked,
 * 255 when it did not get as far as the attempt.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <asm/sockios.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <linux/perf_event.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static int outcome(long result) { return result < 0 ? errno : 0; }

static int must(int result) {
  if (result < 0) {
    perror("setup");
    exit(255);
  }
  return result;
}

static char *own_name(int fd) {
  static char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  return name;
}

static int flags_of(const char *word) {
  if (strcmp(word, "path") == 0) return O_PATH;
  if (strcmp(word, "write") == 0) return O_WRONLY;
  if (strcmp(word, "both") == 0) return O_RDWR;
  return O_RDONLY;
}

/* Opens a file one way, and then the descriptor's own name another way. */
static int reopen(char **words) {
  int fd = must(open(words[0], flags_of(words[1])));
  return outcome(open(own_name(fd), flags_of(words[2])));
}

static int plain_open(char **words) { return outcome(open(words[0], flags_of(words[1]))); }

/* As reopen, through the directory of descriptors held open. */
static int reopen_at(char **words) {
  char name[16];
  int fd = must(open(words[0], flags_of(words[1])));
  int directory = must(open("/proc/self/fd", O_PATH | O_DIRECTORY));
  snprintf(name, sizeof name, "%d", fd);
  return outcome(openat(directory, name, flags_of(words[2])));
}

/* With the access mode that is neither reading nor writing: such a descriptor takes ioctl(2) all the same. */
static int open_oddly(char **words) { return outcome(open(words[0], O_ACCMODE)); }

/* Empties a file in one of the ways that there are. */
static int empty(char **words) {
  const char *way = words[0], *path = words[1];
  struct open_how how = {.flags = O_RDONLY | O_TRUNC};
  if (strcmp(way, "name") == 0) return outcome(truncate(path, 0));
  if (strcmp(way, "struct") == 0) return outcome(syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
  if (strcmp(way, "creat") == 0) return outcome(creat(path, 0600));
  if (strcmp(way, "old") == 0) return outcome(syscall(SYS_open, path, O_RDONLY | O_TRUNC));
  if (strcmp(way, "odd") == 0) return outcome(open(path, O_ACCMODE | O_TRUNC));
  if (strcmp(way, "held") == 0) return outcome(ftruncate(must(open(path, O_RDWR)), 0));
  return outcome(open(path, flags_of(way) | O_TRUNC));
}

static int link_held(char **words) {
  int fd = must(open(words[0], O_RDONLY));
  return outcome(linkat(AT_FDCWD, own_name(fd), AT_FDCWD, words[1], AT_SYMLINK_FOLLOW));
}

static int link_empty(char **words) {
  int fd = must(open(words[0], O_PATH));
  return outcome(linkat(fd, "", AT_FDCWD, words[1], AT_EMPTY_PATH));
}

static struct sockaddr_in loopback(int family, const char *port) {
  struct sockaddr_in address = {.sin_family = family, .sin_port = htons(atoi(port))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/* Addresses of no family, which the kernel takes for internet addresses. */
static int unspecified_send(char **words) {
  int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in address = loopback(AF_UNSPEC, words[0]);
  return outcome(sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof address));
}

static int unspecified_message(char **words) {
  int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in address = loopback(AF_UNSPEC, words[0]);
  struct iovec piece = {"x", 1};
  struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &piece, .msg_iovlen = 1};
  return outcome(sendmsg(fd, &message, 0));
}

static int unspecified_bind(char **words) {
  int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in address = loopback(AF_UNSPEC, words[0]);
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  return outcome(bind(fd, (struct sockaddr *)&address, sizeof address));
}

/* Takes a connection back, which is no way out. */
static int disconnect(char **words) {
  (void)words;
  int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in address = {.sin_family = AF_UNSPEC};
  return outcome(connect(fd, (struct sockaddr *)&address, sizeof address));
}

/* Connects by sending. */
static int fast_open(char **words) {
  int fd = must(socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in address = loopback(AF_INET, words[0]);
  struct iovec piece = {"x", 1};
  struct mmsghdr message = {.msg_hdr = {
      .msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &piece, .msg_iovlen = 1}};
  if (strcmp(words[1], "many") == 0) return outcome(sendmmsg(fd, &message, 1, MSG_FASTOPEN));
  if (strcmp(words[1], "plain") == 0)
    return outcome(sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address));
  return outcome(sendmsg(fd, &message.msg_hdr, MSG_FASTOPEN));
}

static int clone_namespace(char **words) {
  (void)words;
  long pid = syscall(SYS_clone, CLONE_NEWUSER | 17, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  return outcome(pid);
}

static int plain_clone(char **words) {
  (void)words;
  long pid = syscall(SYS_clone, 17, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  return outcome(pid);
}

static int unshare_namespace(char **words) {
  (void)words;
  return outcome(unshare(CLONE_NEWUSER));
}

static int unshare_files(char **words) {
  (void)words;
  return outcome(unshare(CLONE_FILES));
}

/* Without a descriptor of one: that the call is refused comes first. */
static int enter_namespace(char **words) {
  (void)words;
  return outcome(setns(-1, CLONE_NEWUSER));
}

/* The upper half of a request is not looked at by the kernel. */
static int type_into_terminal(char **words) {
  (void)words;
  return outcome(syscall(SYS_ioctl, 0, TIOCSTI | 0x100000000UL, "x"));
}

static int plain_ioctl(char **words) {
  (void)words;
  int left;
  int ends[2];
  must(pipe(ends));
  return outcome(ioctl(ends[0], FIONREAD, &left));
}

/* Whether the process behind a name of /proc is this one: EXDEV when it is another. */
static int whose(char **words) {
  char text[32] = {0};
  int fd = open(words[0], O_RDONLY);
  if (fd < 0) return errno;
  must(read(fd, text, sizeof text - 1));
  return atoi(text) == getpid() ? 0 : EXDEV;
}

/* Calls by number, with a path in argument 1, as those of newer kernels have it. */
static int numbered(char **words) {
  char room[256] = {0};
  return outcome(syscall(atol(words[0]), AT_FDCWD, words[1], room, room, 0, 0));
}

static int move(char **words) { return outcome(rename(words[0], words[1])); }

static int exchange(char **words) {
  return outcome(syscall(SYS_renameat2, AT_FDCWD, words[0], AT_FDCWD, words[1], 2));
}

static int link_named(char **words) { return outcome(link(words[0], words[1])); }

/* Pieces whose lengths add up to little, modulo the size of the address space. */
static int huge_pieces(char **words) {
  int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in address = loopback(AF_INET, words[0]);
  struct iovec pieces[2] = {{words, 8}, {words, (size_t)-8}};
  struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = pieces, .msg_iovlen = 2};
  return outcome(sendmsg(fd, &message, 0));
}

/* A descriptor of a process, by its handle. */
static int take_descriptor(char **words) {
  (void)words;
  int handle = must(syscall(SYS_pidfd_open, getpid(), 0));
  return outcome(syscall(SYS_pidfd_getfd, handle, 0, 0));
}

static int change_mode(char **words) {
  int fd = must(open(words[0], O_RDONLY));
  return outcome(fchmod(fd, 0600));
}

/* What another task exchanges while this one calls: two descriptors in the place of one, and a byte. */
static struct {
  volatile int done;
  int sockets[2];
  int place;
  volatile char *byte;
} exchanging;

static int exchange_all(void *unused) {
  (void)unused;
  for (int k = 0; !exchanging.done; k++) {
    if (exchanging.byte != NULL) *exchanging.byte = k % 2 ? 'a' : 'b';
    else dup2(exchanging.sockets[k % 2], exchanging.place);
  }
  return 0;
}

/* A task with the memory and the descriptors of this one. */
static void start_exchanging(void) {
  static char stack[65536] __attribute__((aligned(16)));
  must(clone(exchange_all, stack + sizeof stack, CLONE_VM | CLONE_FILES | SIGCHLD, NULL));
}

static int first_socket(const char *family) {
  if (strcmp(family, "unix") == 0) return must(socket(AF_UNIX, SOCK_STREAM, 0));
  return must(socket(AF_INET, SOCK_STREAM, 0));
}

/* Sends to an address on a descriptor that is sometimes a stream, which has none, and sometimes takes datagrams. */
static int exchange_send(char **words) {
  exchanging.sockets[0] = first_socket(words[1]);
  exchanging.sockets[1] = must(socket(AF_INET, SOCK_DGRAM, 0));
  exchanging.place = must(dup(exchanging.sockets[0]));
  struct sockaddr_in address = loopback(AF_INET, words[0]);
  struct iovec piece = {"x", 1};
  struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &piece, .msg_iovlen = 1};
  start_exchanging();
  int result = EACCES;
  for (int k = 0; k < 3000 && result != 0; k++) {
    if (sendmsg(exchanging.place, &message, MSG_NOSIGNAL) >= 0) result = 0;
  }
  exchanging.done = 1;
  return result;
}

/* Binds to a name whose last byte is sometimes another one. */
static int exchange_bind(char **words) {
  static struct sockaddr_un address = {.sun_family = AF_UNIX};
  char other[sizeof address.sun_path];
  snprintf(address.sun_path, sizeof address.sun_path, "%sa", words[0]);
  snprintf(other, sizeof other, "%sb", words[0]);
  exchanging.byte = &address.sun_path[strlen(words[0])];
  start_exchanging();
  int result = EACCES;
  for (int k = 0; k < 5000 && result != 0; k++) {
    char own[sizeof address.sun_path];
    int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));
    bind(fd, (struct sockaddr *)&address, sizeof address);
    close(fd);
    snprintf(own, sizeof own, "%sa", words[0]);
    unlink(own);
    if (access(other, F_OK) == 0) result = 0;
  }
  exchanging.done = 1;
  return result;
}

static int looked_into(const char *way, const char *name) {
  char room[64];
  if (strcmp(way, "read") == 0) return outcome(open(name, O_RDONLY));
  if (strcmp(way, "change") == 0) return outcome(chmod(name, 0600));
  if (strcmp(way, "link") == 0) return outcome(linkat(AT_FDCWD, name, AT_FDCWD, "link", AT_SYMLINK_FOLLOW));
  return outcome(getxattr(name, "user.name", room, sizeof room));
}

/* Takes hold of what has a name whose last byte is sometimes another one, and looks into that: ESRCH when it never does. */
static int exchange_path(char **words) {
  static char path[256];
  snprintf(path, sizeof path, "%sa", words[0]);
  exchanging.byte = &path[strlen(words[0])];
  start_exchanging();
  int result = ESRCH;
  for (int k = 0; k < 20000 && result == ESRCH; k++) {
    struct stat facts;
    int fd = open(path, O_PATH);
    if (fd < 0) continue;
    must(fstat(fd, &facts));
    if (facts.st_ino == (ino_t)atol(words[1])) result = looked_into(words[2], own_name(fd));
    close(fd);
  }
  exchanging.done = 1;
  return result;
}

/* As exchange_path, of a file without a name that only a child has, to which the other name is a link. */
static int exchange_held(char **words) {
  char name[256], target[64], number[32];
  struct stat facts;
  struct {
    int fd;
    long inode;
  } held;
  int ends[2];
  snprintf(name, sizeof name, "%sb", words[0]);
  must(pipe(ends));
  int pid = must(fork());
  if (pid == 0) {
    held.fd = must(open(".", O_TMPFILE | O_RDWR, 0600));
    must(fstat(held.fd, &facts));
    held.inode = facts.st_ino;
    must(write(ends[1], &held, sizeof held));
    pause();
  }
  must(read(ends[0], &held, sizeof held));
  snprintf(target, sizeof target, "/proc/%d/fd/%d", pid, held.fd);
  must(symlink(target, name));
  snprintf(number, sizeof number, "%ld", held.inode);
  char *own[] = {words[0], number, words[1]};
  int result = exchange_path(own);
  kill(pid, SIGKILL);
  return result;
}

/* Looks whether somebody writes to its memory. */
static volatile char untouched[4096];

static int stay_untouched(char **words) {
  (void)words;
  for (int k = 0; k < 60000000; k++)
    if (untouched[k % sizeof untouched] != 0) return 0;
  return EACCES;
}

static char *next_program[] = {NULL, "stay-untouched", NULL};

static int run_next(void *unused) {
  (void)unused;
  for (volatile int k = 0; k < 3000000; k++) continue;
  execv(next_program[0], next_program);
  _exit(255);
}

/* Has a link read that takes long to find, to where the program has its memory that another thread runs meanwhile. */
static int write_behind(char **words) {
  static char stack[65536] __attribute__((aligned(16)));
  int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
  next_program[0] = words[1];
  must(clone(run_next, stack + sizeof stack, flags, NULL));
  for (;;) must(readlink(words[0], (char *)untouched, sizeof untouched));
}

/* A large stream in one call, to a reader that takes its time: EIO when less was sent. */
static int stream_whole(char **words) {
  (void)words;
  static char data[3 << 20];
  int ends[2];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  int pid = must(fork());
  if (pid == 0) {
    static char room[65536];
    long all = 0;
    close(ends[0]);
    for (long got; (got = read(ends[1], room, sizeof room)) > 0;) all += got;
    _exit(all == sizeof data ? 0 : EIO);
  }
  struct iovec pieces[2] = {{data, 5}, {data + 5, sizeof data - 5}};
  struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
  long sent = sendmsg(ends[0], &message, 0);
  if (sent != sizeof data) return sent < 0 ? errno : EIO;
  close(ends[0]);
  int status;
  must(waitpid(pid, &status, 0));
  return WEXITSTATUS(status);
}

/* A descriptor in a message: EIO when another file arrives. */
static int pass_descriptor(char **words) {
  int ends[2];
  must(socketpair(AF_UNIX, strcmp(words[1], "dgram") == 0 ? SOCK_DGRAM : SOCK_STREAM, 0, ends));
  int fd = must(open(words[0], O_RDONLY));
  char byte = 'x';
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  struct iovec piece = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
  if (sendmsg(ends[0], &message, 0) < 0) return errno;
  memset(&control, 0, sizeof control);
  must(recvmsg(ends[1], &message, 0));
  int got;
  memcpy(&got, CMSG_DATA(&control.header), sizeof got);
  struct stat sent, received;
  must(fstat(fd, &sent));
  must(fstat(got, &received));
  return got != fd && sent.st_ino == received.st_ino ? 0 : EIO;
}

static volatile sig_atomic_t signals;
static void count_signal(int unused) {
  (void)unused;
  signals++;
}

/* Signals a child that has ended, before it is waited for and after, when its number is nobody's. `calls`: it made some. */
static int signal_ended(char **words) {
  siginfo_t info;
  pid_t child = must(fork());
  if (child == 0) {
    if (strcmp(words[0], "calls") == 0) open("/", O_RDONLY);
    _exit(0);
  }
  must(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
  if (kill(child, SIGTERM) < 0) return errno;
  must(waitpid(child, NULL, 0));
  return kill(child, 0) < 0 && errno == ESRCH ? 0 : EIO;
}

/* Sends where nobody reads: the errno, or EIO when the signal that comes with it does not fit the flag. */
static int broken_pipe(char **words) {
  int ends[2];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  close(ends[1]);
  signal(SIGPIPE, count_signal);
  int silent = strcmp(words[0], "silent") == 0;
  struct iovec piece = {"x", 1};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  int result = outcome(sendmsg(ends[0], &message, silent ? MSG_NOSIGNAL : 0));
  return signals == !silent ? result : EIO;
}

static int bound(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) exit(errno);
  return fd;
}

/* The name of a socket is the one that it was given: EIO when it is another. */
static int bound_name(char **words) {
  int fd = bound(words[0]);
  if (listen(fd, 1) < 0) return errno;
  struct sockaddr_un address;
  socklen_t length = sizeof address;
  must(getsockname(fd, (struct sockaddr *)&address, &length));
  size_t expected = offsetof(struct sockaddr_un, sun_path) + strlen(words[0]) + 1;
  return length == expected && strcmp(address.sun_path, words[0]) == 0 ? 0 : EIO;
}

/* Runs a program once it has accepted a connection, from itself. */
static int serve_and_run(char **words) {
  int fd = bound(words[0]);
  if (listen(fd, 1) < 0) return errno;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", words[0]);
  int client = must(socket(AF_UNIX, SOCK_STREAM, 0));
  if (connect(client, (struct sockaddr *)&address, sizeof address) < 0) return errno;
  if (accept(fd, NULL, NULL) < 0) return errno;
  char *argv[] = {words[1], "nothing", NULL};
  execv(words[1], argv);
  return errno;
}

/* Opens a file in a process that another one, which serves, has made a child of this one, which does not. */
static int open_as_sibling(char **words) {
  int fd = bound(words[0]), result[2], code = 255;
  if (listen(fd, 1) < 0) return errno;
  must(pipe(result));
  if (must(fork()) == 0) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", words[0]);
    must(connect(must(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&address, sizeof address));
    must(accept(fd, NULL, NULL));
    int is_sibling = strcmp(words[2], "sibling") == 0;
    if (must(syscall(SYS_clone, (is_sibling ? CLONE_PARENT : 0) | SIGCHLD, 0, 0, 0, 0)) == 0) {
      code = outcome(open(words[1], O_RDONLY));
      must(write(result[1], &code, sizeof code));
    }
    _exit(0);
  }
  must(read(result[0], &code, sizeof code));
  return code;
}

/* Has whoever opens a file wait for this program. */
static int lease(char **words) {
  int fd = must(open(words[0], O_RDWR));
  return outcome(fcntl(fd, strcmp(words[1], "ask") == 0 ? F_GETLEASE : F_SETLEASE, F_WRLCK));
}

/* Makes a file in a child of a process whose name is no text: EIO when it has another mode than it should. */
static int odd_name(char **words) {
  int status;
  umask(077);
  must(prctl(PR_SET_NAME, "\xd0"));
  if (must(fork()) == 0) {
    struct stat facts;
    int fd = open(words[0], O_CREAT | O_RDWR, 0666);
    if (fd < 0) _exit(errno);
    must(fstat(fd, &facts));
    _exit((facts.st_mode & 0777) == 0600 ? 0 : EIO);
  }
  must(wait(&status));
  return WEXITSTATUS(status);
}

static int become(char **words) { return outcome(setuid(atoi(words[0]))); }

/* Changes nothing of how a process runs, by calls that could. */
static int control(char **words) {
  int pid = strcmp(words[1], "own") == 0 ? getpid() : atoi(words[1]);
  struct rlimit limit;
  cpu_set_t processors;
  if (strcmp(words[0], "ask") == 0) return outcome(prlimit(pid, RLIMIT_STACK, NULL, &limit));
  must(getrlimit(RLIMIT_STACK, &limit));
  must(sched_getaffinity(0, sizeof processors, &processors));
  if (strcmp(words[0], "limit") == 0) return outcome(prlimit(pid, RLIMIT_STACK, &limit, NULL));
  if (strcmp(words[0], "turn") == 0) return outcome(sched_setaffinity(pid, sizeof processors, &processors));
  if (strcmp(words[0], "group") == 0) return outcome(setpriority(PRIO_PGRP, 0, 0));
  if (strcmp(words[0], "user") == 0) return outcome(setpriority(PRIO_USER, 0, 0));
  return outcome(setpriority(PRIO_PROCESS, pid, 0));
}

/* Has the kernel signal a process when there is something to read. */
static int own(char **words) {
  int ends[2];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  int pid = strcmp(words[1], "own") == 0 ? getpid() : atoi(words[1]);
  struct f_owner_ex owner = {F_OWNER_PID, pid};
  if (strcmp(words[0], "struct") == 0) return outcome(fcntl(ends[0], F_SETOWN_EX, &owner));
  if (strcmp(words[0], "ioctl") == 0) return outcome(ioctl(ends[0], FIOSETOWN, &pid));
  return outcome(fcntl(ends[0], F_SETOWN, pid));
}

/* Sends packets by way of another host, loosely (RFC 791), or takes that back. */
static int route(char **words) {
  unsigned char by[] = {131, 7, 4, 127, 0, 0, 2, 0};
  int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
  return outcome(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, by, strcmp(words[0], "back") == 0 ? 0 : sizeof by));
}

/* Opens a file once the kernel was told that nobody should look into this process. */
static int undumpable(char **words) {
  must(prctl(PR_SET_DUMPABLE, 0));
  return outcome(open(words[0], O_RDONLY));
}

static int look(char **words) { return outcome(open(words[0], flags_of(words[1]))); }

/* What stands in a link. */
static int read_link(char **words) {
  char text[4096];
  return outcome(readlink(words[0], text, sizeof text));
}

/** Sets a flag of a file that was opened for reading. */
static int alter(char **words) {
  int fd = must(open(words[0], O_RDONLY)), flags = 0;
  must(ioctl(fd, FS_IOC_GETFLAGS, &flags));
  flags |= FS_NOATIME_FL;
  return outcome(ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

/** Has the kernel tell of what is opened in a directory. */
static int watch_all(char **words) {
  int fd = syscall(SYS_fanotify_init, FAN_CLASS_NOTIF, O_RDONLY);
  if (fd < 0) return errno;
  return outcome(syscall(SYS_fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN | FAN_EVENT_ON_CHILD, AT_FDCWD, words[0]));
}

static int connect_to(char **words) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", words[0]);
  return outcome(connect(must(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&address, sizeof address));
}

/* To a socket that was made as one of a pair, which is one like all others. */
static int pair(char **words) {
  int ends[2];
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", words[1]);
  must(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
  if (strcmp(words[0], "connect") == 0) return outcome(connect(ends[0], (struct sockaddr *)&address, sizeof address));
  if (strcmp(words[0], "send") == 0) return outcome(sendto(ends[0], "x", 1, 0, (struct sockaddr *)&address, sizeof address));
  if (strcmp(words[0], "own") == 0) return outcome(send(ends[0], "x", 1, 0));
  struct iovec piece = {"x", 1};
  struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &piece, .msg_iovlen = 1};
  return outcome(sendmsg(ends[0], &message, 0));
}

/* Changes what is told of a file, to what it is already where that can be. */
static int change(char **words) {
  if (strcmp(words[0], "mode") == 0) return outcome(chmod(words[1], 0600));
  if (strcmp(words[0], "owner") == 0) return outcome(chown(words[1], -1, -1));
  if (strcmp(words[0], "times") == 0) return outcome(utimensat(AT_FDCWD, words[1], NULL, 0));
  return outcome(fchmod(must(open(words[1], O_RDONLY)), 0600));
}

/* A child that runs another program, in the process group of this one. It stands still before its first call when it is traced,
 * and else has made some when this comes back. */
static int run_other(const char *path, int is_traced) {
  int out[2], in[2];
  char byte;
  must(pipe(out));
  must(pipe(in));
  int pid = must(fork());
  if (pid == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    close(in[0]);
    close(in[1]);
    if (is_traced && ptrace(PTRACE_TRACEME, 0, 0, 0) < 0) _exit(254);
    execl(path, path, "stand", NULL);
    _exit(253);
  }
  int status = 0;
  if (is_traced) must(waitpid(pid, &status, 0));
  else must(read(out[0], &byte, 1));
  if (is_traced && !WIFSTOPPED(status)) exit(255);
  return pid;
}

/* Says that it is there, and stays until its input ends. */
static int stand(char **words) {
  (void)words;
  char byte;
  must(write(1, "x", 1));
  return read(0, &byte, 1);
}

/* Asks whether a signal could be sent to another program, by its number or by that of the group. */
static int signal_other(char **words) {
  setpgid(0, 0);
  int other = run_other(words[1], 0);
  return outcome(kill(strcmp(words[0], "group") == 0 ? -getpid() : other, 0));
}

static int trace_other(char **words) {
  struct user_regs_struct registers;
  return outcome(ptrace(PTRACE_GETREGS, run_other(words[0], 1), 0, &registers));
}

/* Looks into another process, or changes where its memory lies, past all files. */
static int look_into(char **words) {
  int pid = strcmp(words[1], "own") == 0 ? getpid() : strcmp(words[1], "other") == 0 ? run_other(words[2], 0) : atoi(words[1]);
  long head = 0, length = 0;
  if (strcmp(words[0], "compare") == 0) return outcome(syscall(SYS_kcmp, getpid(), pid, 1, 0, 0));
  if (strcmp(words[0], "list") == 0) return outcome(syscall(SYS_get_robust_list, pid, &head, &length));
  if (strcmp(words[0], "move") == 0) return outcome(syscall(SYS_move_pages, pid, 0, NULL, NULL, NULL, 0));
  struct perf_event_attr event = {
      .type = PERF_TYPE_SOFTWARE, .size = sizeof event, .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1};
  return outcome(syscall(SYS_perf_event_open, &event, pid, pid == -1 ? 0 : -1, -1, 0));
}

/* Looks at what another program has open: by its link, at the link, or past where it stands. */
static int look_held(char **words) {
  char name[64];
  struct stat facts;
  int fd = must(open(words[1], O_RDONLY));
  int pid = run_other(words[2], 0);
  if (strcmp(words[0], "past") == 0) {
    snprintf(name, sizeof name, "/proc/%d/cwd/%s", pid, strrchr(words[1], '/') + 1);
    return outcome(stat(name, &facts));
  }
  snprintf(name, sizeof name, "/proc/%d/fd/%d", pid, fd);
  if (strcmp(words[0], "open") == 0) return outcome(open(name, O_RDONLY));
  return outcome(strcmp(words[0], "link") == 0 ? lstat(name, &facts) : stat(name, &facts));
}

/* A child waits for whoever has taken a lease on a file, which it wants to be shorter; this one asks something meanwhile. */
static int hold_up(char **words) {
  struct stat facts;
  int pid = must(fork());
  if (pid == 0) _exit(outcome(truncate(words[0], 1)));
  usleep(300000);
  alarm(5);
  int result = outcome(stat(words[0], &facts));
  must(kill(pid, SIGKILL));
  int status = 0;
  must(waitpid(pid, &status, 0));
  return WIFSIGNALED(status) && facts.st_size > 1 ? result : 255;
}

/* One that shares descriptors and memory with the first, and runs where others compute when they let it. */
static struct {
  const char *path;
  cpu_set_t where;
  volatile long before, calls;
} late;

static int take_late(void *unused) {
  (void)unused;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct sched_param none = {0};
  must(sched_setaffinity(0, sizeof late.where, &late.where));
  must(sched_setscheduler(0, SCHED_IDLE, &none));
  for (;;) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    late.before = usage.ru_nvcsw;
    late.calls++;
    int fd = open(late.path, O_RDONLY);
    late.calls++;
    close(fd);
  }
}

/* How often a process has gone to sleep. */
static long sleeps_of(int status) {
  static char text[4096];
  ssize_t size = pread(status, text, sizeof text - 1, 0);
  text[size < 0 ? 0 : size] = 0;
  const char *line = strstr(text, "\nvoluntary_ctxt_switches:");
  return line ? atol(strchr(line, ':') + 1) : -1;
}

/* Opens files while another one that is hardly let run has a descriptor to take. Ends when it was overtaken: the descriptors that are
 * made in order meanwhile leave none out. */
static int overtake(char **words) {
  enum { COMPUTING = 4, OPENS = 10 };
  cpu_set_t rest;
  must(sched_getaffinity(0, sizeof rest, &rest));
  int cpu = 0;
  while (!CPU_ISSET(cpu, &rest)) cpu++;
  CPU_CLR(cpu, &rest);
  CPU_SET(cpu, &late.where);
  late.path = words[0];
  must(sched_setaffinity(0, sizeof rest, &rest));
  static char stack[1 << 16] __attribute__((aligned(16)));
  int taker = must(clone(take_late, stack + sizeof stack, CLONE_VM | CLONE_FILES | SIGCHLD, NULL));
  char name[64];
  snprintf(name, sizeof name, "/proc/%d/status", taker);
  int status;
  /* The other one may have the lowest number when it is opened. */
  do {
    status = must(open(name, O_RDONLY));
  } while (status != 3 && close(status) == 0);
  int children[COMPUTING];
  for (int k = 0; k < COMPUTING; k++) {
    if ((children[k] = must(fork())) > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    must(sched_setaffinity(0, sizeof late.where, &late.where));
    for (;;) continue;
  }
  alarm(100);
  for (int is_overtaken = 0; !is_overtaken;) {
    long call = late.calls;
    if (call % 2 == 0 || sleeps_of(status) <= late.before || late.calls != call) continue;
    int own[OPENS];
    for (int k = 0; k < OPENS; k++) own[k] = must(open(late.path, O_RDONLY));
    is_overtaken = late.calls == call;
    for (int k = 0; k < OPENS; k++) is_overtaken &= own[k] == 4 + k;
    for (int k = 0; k < OPENS; k++) close(own[k]);
  }
  kill(taker, SIGKILL);
  for (int k = 0; k < COMPUTING; k++) kill(children[k], SIGKILL);
  return 0;
}

static void on_signal(int number) { (void)number; }

/* A socket that others make to wait, and not to wait, at every moment, while one accepts, connects or sends: does somebody else get answers? */
static int toggle(char **words) {
  const char *way = words[0], *path = words[1];
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int listening = must(socket(AF_UNIX, SOCK_STREAM, 0)), fd = listening;
  must(bind(listening, (struct sockaddr *)&address, sizeof address));
  must(listen(listening, 0));
  int sends = strcmp(way, "send") == 0, connects = strcmp(way, "connect") == 0;
  if (sends || connects) fd = must(socket(AF_UNIX, SOCK_STREAM, 0));
  if (sends) must(connect(fd, (struct sockaddr *)&address, sizeof address));
  if (connects) must(connect(must(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&address, sizeof address));
  int children[2];
  for (int k = 0; k < 2; k++) {
    if ((children[k] = must(fork())) > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (k == 0) {
      fcntl(fd, F_SETFL, O_NONBLOCK);
      fcntl(fd, F_SETFL, 0);
    }
    struct sigaction action = {.sa_handler = on_signal};
    struct itimerval often = {{0, 3000}, {0, 3000}};
    static char bytes[1 << 16];
    struct iovec piece = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (;;) {
      if (sends) sendmsg(fd, &message, 0);
      else if (connects) connect(fd, (struct sockaddr *)&address, sizeof address);
      else accept(fd, NULL, NULL);
    }
  }
  struct stat facts;
  int result = 0;
  for (int k = 0; k < 100 && result == 0; k++) {
    alarm(4);
    result = outcome(stat(path, &facts));
    usleep(8000);
  }
  for (int k = 0; k < 2; k++) must(kill(children[k], SIGKILL));
  return result;
}

static int lingering;
static volatile int is_asking;

static int send_more(void *unused) {
  static char bytes[1 << 20];
  struct iovec piece = {bytes, sizeof bytes};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  (void)unused;
  is_asking = 1;
  return sendmsg(lingering, &message, MSG_DONTWAIT) > 0;
}

static int close_later(void *spins) {
  while (!is_asking) continue;
  for (volatile long spin = 0; spin < (long)spins; spin++) continue;
  return close(lingering);
}

/* Closes a connection on which bytes are left while more is sent: who has it last waits until they are sent, or for a time. */
static int linger(char **words) {
  static char stacks[2][1 << 16], bytes[1 << 18];
  struct stat facts;
  struct sockaddr_in address = loopback(AF_INET, "0");
  socklen_t length = sizeof address;
  struct linger time = {1, 30};
  int listening = must(socket(AF_INET, SOCK_STREAM, 0)), result = 0;
  must(bind(listening, (struct sockaddr *)&address, sizeof address));
  must(listen(listening, 1));
  must(getsockname(listening, (struct sockaddr *)&address, &length));
  for (long k = 0; k < 200 && result == 0; k++) {
    lingering = must(socket(AF_INET, SOCK_STREAM, 0));
    must(connect(lingering, (struct sockaddr *)&address, sizeof address));
    int other = must(accept(listening, NULL, NULL));
    must(setsockopt(lingering, SOL_SOCKET, SO_LINGER, &time, sizeof time));
    must(fcntl(lingering, F_SETFL, O_NONBLOCK));
    while (write(lingering, bytes, sizeof bytes) > 0) continue;
    is_asking = 0;
    const int how = CLONE_VM | CLONE_FILES | SIGCHLD;
    must(clone(close_later, stacks[0] + sizeof stacks[0], how, (void *)(k * 150)));
    must(clone(send_more, stacks[1] + sizeof stacks[1], how, NULL));
    usleep(300);
    alarm(5);
    result = outcome(stat(words[0], &facts));
    close(other);
    while (waitpid(-1, NULL, 0) > 0) continue;
  }
  return result;
}

static int run_file(char **words) {
  alarm(5);
  return outcome(execl(words[0], words[0], NULL));
}

/* A call that no kernel has, or one of another ABI. */
static int unheard_of(char **words) { return outcome(syscall(strtol(words[0], NULL, 0), 0, 0, 0, 0, 0)); }

/* Opens a name below a directory as openat2(2) is told to resolve it. */
static int resolve(char **words) {
  struct open_how how = {.flags = flags_of(words[3]), .resolve = strtol(words[2], NULL, 0)};
  if (how.flags != O_RDONLY) how = (struct open_how){.flags = O_CREAT | how.flags, .mode = 0600, .resolve = how.resolve};
  int directory = must(open(words[0], O_RDONLY | O_DIRECTORY));
  return outcome(syscall(SYS_openat2, directory, words[1], &how, sizeof how));
}

/* Sends several messages, of which that in the middle goes elsewhere: how many were sent. */
static int send_between(char **words) {
  int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in some = loopback(AF_INET, words[0]), other = loopback(AF_INET, words[1]);
  struct iovec piece = {"x", 1};
  struct mmsghdr messages[3] = {0};
  for (int k = 0; k < 3; k++)
    messages[k].msg_hdr = (struct msghdr){
        .msg_name = k == 1 ? &other : &some, .msg_namelen = sizeof some, .msg_iov = &piece, .msg_iovlen = 1};
  return sendmmsg(fd, messages, 3, 0);
}

/* Sets an option of a socket, as a number. */
static int option(char **words) {
  int one = 1, fd = must(socket(AF_INET, SOCK_DGRAM, 0));
  return outcome(setsockopt(fd, atoi(words[0]), atoi(words[1]), &one, sizeof one));
}

/* Asks an interface of a socket, or changes it. */
static int interface(char **words) {
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING};
  int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
  return outcome(ioctl(fd, strtoul(words[0], NULL, 0), &request));
}

/* Any call, by its number and four numbers. */
static int number_call(char **words) {
  long value[5];
  for (int k = 0; k < 5; k++) value[k] = strtoul(words[k], NULL, 0);
  return outcome(syscall(value[0], value[1], value[2], value[3], value[4]));
}

/* Asks the kernel to change an interface, by a message that would leave it as it is. */
static int change_interface(char **words) {
  struct {
    struct nlmsghdr head;
    struct ifinfomsg interface;
  } ask = {{.nlmsg_len = sizeof ask, .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
           {.ifi_index = 1}};
  struct {
    struct nlmsghdr head;
    struct nlmsgerr error;
    char more[256];
  } told = {0};
  (void)words;
  int fd = must(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  must(write(fd, &ask, sizeof ask));
  must(read(fd, &told, sizeof told));
  return -told.error.error;
}

/* Sends a message with a mark, which its control data asks for. */
static int mark_message(char **words) {
  struct sockaddr_in peer = loopback(AF_INET, words[0]);
  struct iovec piece = {"x", 1};
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct msghdr message = {.msg_name = &peer, .msg_namelen = sizeof peer, .msg_iov = &piece, .msg_iovlen = 1,
                           .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SO_MARK};
  *(int *)CMSG_DATA(head) = 7;
  return outcome(sendmsg(must(socket(AF_INET, SOCK_DGRAM, 0)), &message, 0));
}

static int nothing(char **words) {
  (void)words;
  return 0;
}

/* Core files as large as the second word says, set by the call that the first one names. */
static int limit_core(char **words) {
  rlim_t size = strcmp(words[1], "any") == 0 ? RLIM_INFINITY : 0;
  struct rlimit limit = {size, strcmp(words[1], "none") == 0 ? 0 : RLIM_INFINITY}, old = {1, 1};
  if (strcmp(words[0], "setrlimit") == 0) return outcome(syscall(SYS_setrlimit, RLIMIT_CORE, &limit));
  int error = outcome(prlimit(0, RLIMIT_CORE, &limit, &old));
  return error != 0 || (old.rlim_cur == 0 && old.rlim_max == 0) ? error : 255;
}

/* Stands in a directory, and leaves what the kernel writes of it there. */
static int leave_core(char **words) {
  struct rlimit any = {RLIM_INFINITY, RLIM_INFINITY};
  pid_t child = must(fork());
  if (child == 0) {
    setrlimit(RLIMIT_CORE, &any);
    must(chdir(words[0]));
    signal(SIGSEGV, SIG_DFL);
    *(volatile char *)8 = 0;
  }
  int status = 0;
  must(waitpid(child, &status, 0));
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV ? 0 : 255;
}

static void nothing_happens(int signal) { (void)signal; }

/* Sends many messages where there is room for none: waits until a signal comes. */
static int send_when_full(char **words) {
  (void)words;
  int ends[2];
  must(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
  while (send(ends[0], "x", 1, MSG_DONTWAIT) == 1) {
  }
  struct sigaction action = {.sa_handler = nothing_happens};
  must(sigaction(SIGALRM, &action, NULL));
  // Again and again, as the first may come before the call is made.
  struct itimerval soon = {{0, 20000}, {0, 20000}};
  must(setitimer(ITIMER_REAL, &soon, NULL));
  struct iovec piece = {"x", 1};
  struct mmsghdr messages[2] = {{.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1}}};
  return outcome(sendmmsg(ends[0], messages, 2, 0));
}

/* So many times the same, as fast as that goes; a file tells that it is done. */
static int read_often(char **words) {
  for (int k = atoi(words[1]); k > 0; k--) {
    if (open(words[0], O_RDONLY) >= 0) return 255;
  }
  return open(words[2], O_WRONLY | O_CREAT, 0600) < 0 ? 255 : 0;
}

/* Sends more messages at once than are held together, with a descriptor in each: how many are sent, and that all of those come. */
static int send_many(char **words) {
  (void)words;
  enum { COUNT = 300 };
  int ends[2], sent = 0, room = 1 << 20;
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  must(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room));
  static union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.header), ends, sizeof(int));
  struct iovec piece = {"xyz", 3};
  static struct mmsghdr messages[COUNT];
  for (int k = 0; k < COUNT; k++)
    messages[k].msg_hdr = (struct msghdr){.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  while (sent < COUNT) {
    int more = sendmmsg(ends[0], messages + sent, COUNT - sent, 0);
    if (more <= 0) return more < 0 ? errno : 255;
    for (int k = sent; k < sent + more; k++)
      if (messages[k].msg_len != 3) return 255;
    sent += more;
    char bytes[3 * COUNT];
    for (int left = 3 * more; left > 0;) left -= must(read(ends[1], bytes, left));
  }
  return 0;
}

static const struct {
  const char *name;
  int (*way)(char **);
} WAYS[] = {
    {"open", plain_open},
    {"reopen", reopen},
    {"reopen-at", reopen_at},
    {"open-oddly", open_oddly},
    {"empty", empty},
    {"link-held", link_held},
    {"link-empty", link_empty},
    {"unspecified-send", unspecified_send},
    {"unspecified-message", unspecified_message},
    {"unspecified-bind", unspecified_bind},
    {"disconnect", disconnect},
    {"fast-open", fast_open},
    {"clone-namespace", clone_namespace},
    {"clone", plain_clone},
    {"unshare-namespace", unshare_namespace},
    {"unshare-files", unshare_files},
    {"enter-namespace", enter_namespace},
    {"type-into-terminal", type_into_terminal},
    {"ioctl", plain_ioctl},
    {"whose", whose},
    {"numbered", numbered},
    {"rename", move},
    {"exchange", exchange},
    {"link", link_named},
    {"huge-pieces", huge_pieces},
    {"take-descriptor", take_descriptor},
    {"change-mode", change_mode},
    {"exchange-send", exchange_send},
    {"exchange-bind", exchange_bind},
    {"exchange-path", exchange_path},
    {"exchange-held", exchange_held},
    {"write-behind", write_behind},
    {"stay-untouched", stay_untouched},
    {"stream-whole", stream_whole},
    {"pass-descriptor", pass_descriptor},
    {"broken-pipe", broken_pipe},
    {"signal-ended", signal_ended},
    {"bound-name", bound_name},
    {"serve-and-run", serve_and_run},
    {"open-as-sibling", open_as_sibling},
    {"lease", lease},
    {"odd-name", odd_name},
    {"become", become},
    {"control", control},
    {"own", own},
    {"route", route},
    {"undumpable", undumpable},
    {"look", look},
    {"read-link", read_link},
    {"alter", alter},
    {"watch-all", watch_all},
    {"connect", connect_to},
    {"pair", pair},
    {"change", change},
    {"stand", stand},
    {"signal-other", signal_other},
    {"trace-other", trace_other},
    {"look-into", look_into},
    {"look-held", look_held},
    {"hold-up", hold_up},
    {"run", run_file},
    {"overtake", overtake},
    {"linger", linger},
    {"toggle", toggle},
    {"unheard-of", unheard_of},
    {"resolve", resolve},
    {"send-between", send_between},
    {"option", option},
    {"interface", interface},
    {"call", number_call},
    {"change-interface", change_interface},
    {"mark-message", mark_message},
    {"limit-core", limit_core},
    {"leave-core", leave_core},
    {"send-when-full", send_when_full},
    {"send-many", send_many},
    {"read-often", read_often},
    {"nothing", nothing},
};

int main(int argc, char **argv) {
  for (unsigned k = 0; argc > 1 && k < sizeof WAYS / sizeof *WAYS; k++) {
    if (strcmp(argv[1], WAYS[k].name) == 0) return WAYS[k].way(argv + 2);
  }
  return 255;
}
