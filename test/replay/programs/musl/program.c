#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char order[401];
static int length, pair[2];
static volatile sig_atomic_t ticks;

static void tick(int number) { ticks++; }

static void *work(void *argument) {
  for (int i = 0; i < 50; i++) {
    char *block = malloc(100 + i);
    pthread_mutex_lock(&mutex);
    order[length++] = 'a' + (int)(long)argument;
    pthread_mutex_unlock(&mutex);
    free(block);
    if (i % 10 == 0) usleep(10);
  }
  return NULL;
}

static void *answer(void *argument) {
  char line[100];
  ssize_t got;
  while ((got = read(pair[1], line, sizeof line)) > 0) {
    for (int i = 0; i < got; i++)
      if (line[i] >= 'A') line[i] ^= ' ';
    if (write(pair[1], line, got) != got) exit(1);
  }
  return NULL;
}

int main(void) {
  pthread_t threads[8], answering;
  struct timespec now;
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (long i = 0; i < 8; i++) pthread_create(&threads[i], NULL, work, (void *)i);
  for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
  if (length != 400) return 1;
  puts(order);
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 1;
  pthread_create(&answering, NULL, answer, NULL);
  for (int i = 0; i < 10; i++) {
    char text[64], back[64] = "";
    clock_gettime(CLOCK_REALTIME, &now);
    int size = snprintf(text, sizeof text, "LINE%ld", now.tv_nsec);
    if (write(pair[0], text, size) != size || read(pair[0], back, sizeof back) != size) return 1;
    puts(back);
  }
  shutdown(pair[0], SHUT_WR);
  pthread_join(answering, NULL);
  struct itimerval every = {{0, 1000}, {0, 1000}};
  signal(SIGALRM, tick);
  setitimer(ITIMER_REAL, &every, NULL);
  unsigned long count = 0;
  while (ticks < 10) count++;
  memset(&every, 0, sizeof every);
  setitimer(ITIMER_REAL, &every, NULL);
  printf("counted %lu\n", count);
  for (int i = 0; i < 5; i++) {
    pid_t child = fork();
    if (child == 0) _exit(i);
    int status;
    if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != i) return 1;
    printf("child %d\n", child);
  }
#ifdef __i386__
  if (system("echo a 64-bit shell: $$") != 0) return 1;
#endif
  return 0;
}
