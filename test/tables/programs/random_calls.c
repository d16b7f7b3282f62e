/* random_calls DIR SEED STEPS: calls on files, pipes, sockets, signals and processes, as the seed says. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long state;
static unsigned below(unsigned bound) {
  state = state * 6364136223846793005UL + 1442695040888963407UL;
  return (state >> 33) % bound;
}

static const char *dir;
static int fds[8], dirfd_;
static char buffer[4096];

static void handler(int signal) { (void)signal; }

static const char *path(unsigned k) {
  static char text[512];
  /* The last one is not UTF-8. */
  if (k == 7) snprintf(text, sizeof text, "%s/f\xff\xfe", dir);
  else snprintf(text, sizeof text, "%s/f%u", dir, k);
  return text;
}

static void steps(unsigned count, int depth);

static void child(int depth) {
  pid_t pid = fork();
  if (pid == 0) {
    steps(below(20), depth + 1);
    if (below(3) == 0) execl("/bin/true", "true", "with", "arguments", (char *)0);
    _exit(below(7));
  }
  if (pid > 0) waitpid(pid, 0, 0);
}

static void both_ways(int *ends) {
  ssize_t n = write(ends[1], buffer, 1 + below(200));
  (void)n;
  n = read(ends[0], buffer, sizeof buffer);
  close(ends[0]);
  if (below(4) != 0) close(ends[1]);
}

/* Two ends of a TCP connection in one program; sometimes nobody listens. */
static void connected(void) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof to;
  int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0), end = -1;
  bind(server, (struct sockaddr *)&to, sizeof to);
  getsockname(server, (struct sockaddr *)&to, &size);
  if (below(4) != 0) listen(server, 1);
  if (connect(client, (struct sockaddr *)&to, sizeof to) == 0) {
    end = accept(server, 0, 0);
    ssize_t n = send(client, buffer, 1 + below(500), 0);
    n = recv(end, buffer, sizeof buffer, 0);
    n = write(end, buffer, 1 + below(50));
    n = read(client, buffer, 10);
    (void)n;
  }
  close(client);
  if (end >= 0) close(end);
  close(server);
}

/* Memory, of a file or none, of which one page may be given back at once. */
static void mapped(int fd) {
  size_t length = 4096 * (1 + below(5));
  int of_file = fd >= 0 && below(2);
  char *at = mmap(0, length, below(2) ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | (of_file ? 0 : MAP_ANONYMOUS),
                  of_file ? fd : -1, of_file ? 4096 * below(3) : 0);
  if (at != MAP_FAILED && below(2)) munmap(at, 4096);
}

static void step(int depth) {
  int *fd = &fds[below(8)], ends[2];
  struct stat st;
  ssize_t n = 0;
  switch (below(17)) {
    case 0: case 1:
      if (*fd >= 0) close(*fd);
      *fd = open(path(below(8)), O_RDWR | O_CREAT | (below(2) ? O_CLOEXEC : 0), 0644);
      break;
    case 2: n = open("/nonexistent/file", O_RDONLY); break;
    case 3: n = read(*fd, buffer, 1 + below(300)); break;
    case 4: n = write(*fd, buffer, 1 + below(300)); break;
    case 5: n = pread(*fd, buffer, below(100), below(50)); break;
    case 6: if (*fd >= 0) close(*fd); *fd = -1; break;
    case 7: if (*fd >= 0) close(dup(*fd)); break;
    case 8: n = stat(path(below(9)), &st); break;
    case 9: if (pipe(ends) == 0) both_ways(ends); break;
    case 10: if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0) both_ways(ends); break;
    case 11: if (depth < 2) child(depth); break;
    case 12: kill(getpid(), SIGUSR1); break;
    case 13: { int f = openat(dirfd_, "f1", O_RDONLY); if (f >= 0) close(f); break; }
    case 14: if (*fd >= 0) n = sendfile(*fd, fds[below(8)], 0, 64); break;
    case 15: connected(); break;
    case 16: mapped(*fd); break;
  }
  (void)n;
}

static void steps(unsigned count, int depth) {
  while (count-- > 0) step(depth);
}

int main(int argc, char **argv) {
  (void)argc;
  dir = argv[1];
  state = strtoul(argv[2], 0, 10);
  signal(SIGUSR1, handler);
  memset(fds, -1, sizeof fds);
  memset(buffer, 'x', sizeof buffer);
  dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
  steps(strtoul(argv[3], 0, 10), 0);
  return below(5);
}
