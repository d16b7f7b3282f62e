/*
 * Calls as few programs make them: `unusual GROUP`, in an empty directory. A line for each, with its errno, 0 when it worked.
 * What it prints has to be the same with and without a supervisor.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FCHMODAT2 452

static char text[5000];

/* Prints what a call ended with; a handle of it is its result. */
static int told(const char *what, long result) {
  printf("%s: %d\n", what, result < 0 ? errno : 0);
  return (int)result;
}

#define TELL(call) told(#call, (long)(call))

static void make(const char *name, const char *content, int mode) {
  int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, mode);
  if (fd < 0 || write(fd, content, strlen(content)) < 0 || close(fd) < 0) {
    perror(name);
    exit(255);
  }
}

static const char *own(const char *form, int fd) {
  snprintf(text, sizeof text, form, fd);
  return text;
}

/* Links that lead nowhere yet, names that end with a slash, and what is asked by removing. */
static void names(void) {
  struct stat facts;
  mkdir("directory", 0700);
  mkdir("holds", 0700);
  make("file", "text", 0600);
  symlink("made", "leads");
  symlink("leads", "leads-on");
  symlink("no/where", "leads-out");
  symlink("itself", "itself");
  TELL(open("leads-on", O_CREAT | O_EXCL | O_WRONLY, 0600));
  TELL(open("leads-on", O_CREAT | O_NOFOLLOW | O_WRONLY, 0600));
  TELL(open("leads-out", O_CREAT | O_WRONLY, 0600));
  TELL(open("itself", O_CREAT | O_WRONLY, 0600));
  TELL(open("leads-on", O_CREAT | O_WRONLY, 0600));
  TELL(lstat("made", &facts));
  TELL(open("holds", O_CREAT | O_DIRECTORY, 0600));
  TELL(open("leads", O_NOFOLLOW | O_DIRECTORY));
  TELL(unlink("file/"));
  TELL(unlink("directory"));
  TELL(rmdir("file"));
  TELL(rename("file/", "other"));
  TELL(rename("file", "other/"));
  TELL(link("file", "other/"));
  TELL(link("directory", "other"));
  TELL(symlink("file", "other/"));
  TELL(mknod("other/", S_IFREG | 0600, 0));
  TELL(truncate("directory", 0));
  TELL(remove("directory/"));
  TELL(mkdir("directory/", 0700));
  TELL(remove("directory"));
  memset(text, 'x', sizeof text - 1);
  told("stat of a name that is too long", stat(text, &facts));
}

/* What is done by descriptors, whatever their numbers are: with an argument there is one more. */
static void held(int more) {
  int pipes[2], fd, at;
  char link[100];
  for (; more >= 0; more--)
    dup(0);
  make("file", "text", 0600);
  fd = open("file", O_RDONLY);
  told("fchmodat2 of none", syscall(FCHMODAT2, fd, "", 0640, AT_EMPTY_PATH));
  told("fchmodat2 as nobody does", syscall(FCHMODAT2, AT_FDCWD, "file", 0600, 0x40000));
  pipe(pipes);
  told("readlink of a pipe", readlink(own("/proc/self/fd/%d", pipes[0]), link, sizeof link));
  told("chmod of a pipe", chmod(own("/dev/fd/%d", pipes[0]), 0600));
  fd = memfd_create("memory", 0);
  told("truncate of memory", truncate(own("/proc/self/fd/%d", fd), 5));
  told("chmod of memory", chmod(own("/proc/self/fd/%d", fd), 0700));
  told("fsetxattr of memory", fsetxattr(fd, "trusted.none", "", 0, XATTR_REPLACE) < 0 && errno == EACCES ? -1 : 0);
  at = open("/proc", O_RDONLY | O_DIRECTORY);
  printf("self: %d\n", readlinkat(at, "self", link, sizeof link) > 0 && atoi(link) == getpid());
}

static void *with_own(void *is_apart) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof name;
  struct stat facts;
  int server, client, directory, fd;
  if (is_apart)
    TELL(unshare(CLONE_FILES));
  directory = TELL(open("directory", O_RDONLY | O_DIRECTORY));
  fd = TELL(openat(directory, is_apart ? "file" : "other", O_CREAT | O_WRONLY, 0600));
  TELL(fchmod(fd, 0640));
  TELL(fstatat(fd, "", &facts, AT_EMPTY_PATH));
  TELL(inotify_add_watch(inotify_init(), "directory", IN_CREATE));
  server = TELL(socket(AF_INET, SOCK_STREAM, 0));
  TELL(bind(server, (void *)&name, size));
  TELL(listen(server, 1));
  TELL(getsockname(server, (void *)&name, &size));
  client = TELL(socket(AF_INET, SOCK_STREAM, 0));
  TELL(connect(client, (void *)&name, size));
  TELL(accept(server, NULL, NULL));
  TELL(sendto(client, "x", 1, 0, NULL, 0));
  if (!is_apart)
    exit(0);
  return NULL;
}

/* Threads that have descriptors of their own, or are left alone by the first one. */
static void threads(void) {
  pthread_t thread;
  mkdir("directory", 0700);
  /* Their numbers are those of other files to the rest of the process. */
  pthread_create(&thread, NULL, with_own, "");
  pthread_join(thread, NULL);
  pthread_create(&thread, NULL, with_own, NULL);
  pthread_exit(NULL);
}

static void sockets(void) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  struct sockaddr_storage given;
  socklen_t size = sizeof given;
  int server = TELL(socket(AF_UNIX, SOCK_STREAM, 0));
  memset(name.sun_path, 'x', sizeof name.sun_path);
  TELL(bind(server, (void *)&name, sizeof name));
  TELL(listen(server, 1));
  TELL(getsockname(server, (void *)&given, &size));
  printf("%d %d\n", (int)size, (int)strlen(((struct sockaddr_un *)&given)->sun_path));
  TELL(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, sizeof name));
  server = TELL(socket(AF_INET, SOCK_STREAM, 0));
  TELL(listen(server, 1));
  size = sizeof given;
  TELL(getsockname(server, (void *)&given, &size));
  TELL(connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&given, size));
  TELL(accept(server, NULL, NULL));
}

/* Starts a program by a descriptor, or by a name. */
static void run(const char *what, int fd, char *name) {
  char *arguments[] = {name, "ended", NULL}, *none[] = {NULL};
  int status;
  if (fork() == 0) {
    if (fd >= 0)
      fexecve(fd, arguments, none);
    else
      execvp(name, arguments);
    _exit(errno);
  }
  wait(&status);
  printf("%s: %d\n", what, status >> 8);
}

static int copy(int fd, int flags, const char *name) {
  static char bytes[1 << 16];
  int self = open("/proc/self/exe", O_RDONLY);
  ssize_t got;
  while ((got = read(self, bytes, sizeof bytes)) > 0)
    if (write(fd, bytes, got) != got)
      return -1;
  close(self);
  if (flags < 0)
    return fd;
  close(fd);
  return open(name, flags);
}

/* Programs without a name, and one that only a shell can run. */
static void programs(void) {
  run("in memory", copy(memfd_create("program", MFD_CLOEXEC), -1, NULL), "program");
  int fd = copy(open("removed", O_CREAT | O_WRONLY, 0700), O_RDONLY | O_CLOEXEC, "removed");
  unlink("removed");
  run("removed", fd, "removed");
  make("plain", "echo plain\n", 0700);
  run("without an interpreter", -1, "./plain");
}

int main(int count, char **words) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  const char *group = count > 1 ? words[1] : "";
  if (strcmp(group, "names") == 0)
    names();
  else if (strcmp(group, "held") == 0)
    held(count - 2);
  else if (strcmp(group, "threads") == 0)
    threads();
  else if (strcmp(group, "sockets") == 0)
    sockets();
  else if (strcmp(group, "programs") == 0)
    programs();
  else
    return strcmp(group, "ended") == 0 ? 0 : 255;
  return 0;
}
