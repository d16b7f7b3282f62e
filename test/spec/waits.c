/*
 * Calls that wait, interrupted by signals that the program handles: `waits WAY [WORD...]`. The exit code is the errno of the
 * call, 0 when it worked, 255 when it did not get as far as that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int must(int result) {
  if (result < 0) {
    perror("setup");
    exit(255);
  }
  return result;
}

static int outcome(long result) { return result < 0 ? errno : 0; }

static struct sockaddr_un named(const char *path) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  strncpy(name.sun_path, path, sizeof name.sun_path - 1);
  return name;
}

static int bound(int type, const char *path) {
  struct sockaddr_un name = named(path);
  int fd = must(socket(AF_UNIX, type, 0));
  must(bind(fd, (struct sockaddr *)&name, sizeof name));
  return fd;
}

static int receiver = -1;
static volatile int handled;
static const char *path;

static void connect_to_self(void) {
  struct sockaddr_un name = named(path);
  int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));
  must(connect(fd, (struct sockaddr *)&name, sizeof name));
}

/* Makes room for what waits to be sent, when it is the test that the call goes on. */
static void on_alarm(int signal) {
  char buffer[256];
  (void)signal;
  handled++;
  if (receiver >= 0)
    while (recv(receiver, buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
    }
}

/* Again and again: one that comes before the call is not enough. */
static void alarm_often(int flags) {
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
  struct itimerval often = {.it_value = {.tv_usec = 100000}, .it_interval = {.tv_usec = 100000}};
  must(sigaction(SIGALRM, &action, NULL));
  must(setitimer(ITIMER_REAL, &often, NULL));
}

static int is_limited(const char *word) { return strcmp(word, "limit") == 0; }

static int flags_of(const char *word) { return strcmp(word, "restart") == 0 || is_limited(word) ? SA_RESTART : 0; }

/* A limit of the time that calls on a socket wait, far longer than they do. */
static void limit(int fd, int option) {
  struct timeval time = {.tv_sec = 20};
  must(setsockopt(fd, SOL_SOCKET, option, &time, sizeof time));
}

/* Sends datagrams to a socket that nobody reads, until one waits. */
static int send_full(char **words) {
  struct sockaddr_un name = named(words[0]);
  int reader = bound(SOCK_DGRAM, words[0]), fd = must(socket(AF_UNIX, SOCK_DGRAM, 0));
  struct sockaddr *to = (struct sockaddr *)&name;
  while (sendto(fd, "x", 1, MSG_DONTWAIT, to, sizeof name) == 1) {
  }
  if (errno != EAGAIN) return 255;
  if (is_limited(words[1])) limit(fd, SO_SNDTIMEO);
  if (strcmp(words[1], "restart") == 0) receiver = reader;
  alarm_often(flags_of(words[1]));
  int result = outcome(sendto(fd, "x", 1, 0, to, sizeof name));
  return handled ? result : 255;
}

static void *connect_handled(void *unused) {
  (void)unused;
  while (handled < 3) usleep(1000);
  connect_to_self();
  return NULL;
}

/* Waits for a connection, which comes after the signals if it is the test that the call goes on. */
static int accept_late(char **words) {
  pthread_t other;
  sigset_t alarm_only;
  path = words[0];
  int fd = bound(SOCK_STREAM, path);
  must(listen(fd, 4));
  if (is_limited(words[1])) limit(fd, SO_RCVTIMEO);
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  pthread_sigmask(SIG_BLOCK, &alarm_only, NULL);
  if (strcmp(words[1], "restart") == 0 && pthread_create(&other, NULL, connect_handled, NULL) != 0) return 255;
  pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
  alarm_often(flags_of(words[1]));
  int result = outcome(accept(fd, NULL, NULL));
  return handled ? result : 255;
}

/* Opens a named pipe that has no other end. */
static int open_pipe(char **words) {
  must(mkfifo(words[0], 0600));
  alarm_often(0);
  int result = outcome(open(words[0], O_RDONLY));
  return handled ? result : 255;
}

static int listening;

static void *accept_first(void *address) {
  struct sockaddr_un *from = address;
  socklen_t length = sizeof *from;
  int fd = accept4(listening, (struct sockaddr *)from, &length, SOCK_CLOEXEC);
  if (fd < 0 || length != sizeof(sa_family_t) || from->sun_family != AF_UNIX) return NULL;
  return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 ? address : NULL;
}

/* Opens a file while another thread waits for the first connection, and once more after that. */
static int phases(char **words) {
  pthread_t other;
  struct sockaddr_un from = {0};
  void *worked;
  path = words[0];
  listening = bound(SOCK_STREAM, path);
  must(listen(listening, 4));
  if (pthread_create(&other, NULL, accept_first, &from) != 0) return 255;
  usleep(200000);
  int before = open(words[1], O_RDONLY);
  if (before < 0) return errno;
  connect_to_self();
  if (pthread_join(other, &worked) != 0 || worked == NULL) return 255;
  return open(words[1], O_RDONLY) < 0 && errno == EACCES ? 0 : 254;
}

enum { FAMILY = 1500 };

/* Another process that has many children, which all are looked at before it executes a program; they end with this one. */
static int execute_late(void) {
  int ready[2], ends[2];
  char byte;
  must(pipe(ready));
  must(pipe(ends));
  if (must(fork()) != 0) return must((int)read(ready[0], &byte, 1)) == 1 ? 0 : 255;
  close(ends[1]);
  for (int k = 0; k < FAMILY; k++)
    if (must(fork()) == 0) _exit((int)read(ends[0], &byte, 1));
  must((int)write(ready[1], "x", 1));
  char *words[] = {"waits", "nothing", NULL};
  execve("/proc/self/exe", words, NULL);
  _exit(1);
}

/* Opens a file that is there, when a signal comes soon and who decides has other things to do. */
static int open_behind(char **words) {
  struct sigaction action = {.sa_handler = on_alarm};
  struct itimerval once = {.it_value = {.tv_usec = 20000}};
  int result = 0;
  must(sigaction(SIGALRM, &action, NULL));
  if (execute_late() != 0) return 255;
  for (int round = 0; round < 8 && result == 0; round++) {
    must(setitimer(ITIMER_REAL, &once, NULL));
    result = outcome(open(words[1], O_RDONLY));
    while (handled <= round) usleep(1000);
  }
  return result;
}

static int nothing(char **words) {
  (void)words;
  return 0;
}

static const struct {
  const char *name;
  int (*way)(char **);
} WAYS[] = {
    {"send", send_full}, {"accept", accept_late},  {"pipe", open_pipe},
    {"phases", phases},  {"behind", open_behind}, {"nothing", nothing},
};

int main(int argc, char **argv) {
  for (size_t k = 0; argc > 1 && k < sizeof WAYS / sizeof *WAYS; k++)
    if (strcmp(argv[1], WAYS[k].name) == 0) return WAYS[k].way(argv + 2);
  return 255;
}
