/*
 * Ways out of a sandbox, one a run: `escapes WAY [WORD...]`. The exit code is the errno of the attempt, 0 when it worked,
 * 255 when it did not get as far as the attempt.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

/* As reopen, through the directory of descriptors held open. */
static int reopen_at(char **words) {
  char name[16];
  int fd = must(open(words[0], flags_of(words[1])));
  int directory = must(open("/proc/self/fd", O_PATH | O_DIRECTORY));
  snprintf(name, sizeof name, "%d", fd);
  return outcome(openat(directory, name, flags_of(words[2])));
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

static const struct {
  const char *name;
  int (*way)(char **);
} WAYS[] = {
    {"reopen", reopen},
    {"reopen-at", reopen_at},
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
};

int main(int argc, char **argv) {
  for (unsigned k = 0; argc > 1 && k < sizeof WAYS / sizeof *WAYS; k++) {
    if (strcmp(argv[1], WAYS[k].name) == 0) return WAYS[k].way(argv + 2);
  }
  return 255;
}
