/* One thread waits for events that another process makes, the other one for something that never comes. */
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 200 };

static void *wait_in_vain(void *unused) {
  pause();
  return unused;
}

int main(void) {
  int ends[2];
  if (pipe(ends) != 0) return 1;
  pid_t child = fork();
  if (child == 0) {
    struct timespec rest = {0, 1000000};
    for (int k = 0; k < EVENTS; k++) {
      nanosleep(&rest, NULL);
      if (write(ends[1], "x", 1) != 1) return 1;
    }
    return 0;
  }
  pthread_t thread;
  struct epoll_event event = {.events = EPOLLIN};
  int poll = epoll_create1(0);
  if (pthread_create(&thread, NULL, wait_in_vain, NULL) != 0 || epoll_ctl(poll, EPOLL_CTL_ADD, ends[0], &event) != 0) return 1;
  int told = 0;
  for (int k = 0; told < EVENTS; k++) {
    char bytes[EVENTS];
    if (epoll_wait(poll, &event, 1, k % 2 ? -1 : 500) == 1) told += read(ends[0], bytes, sizeof bytes);
  }
  waitpid(child, NULL, 0);
  printf("%d events\n", told);
  return 0;
}
