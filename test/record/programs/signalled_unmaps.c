/* Threads that map and unmap memory, where one gets what another has just given back, while a timer sends signals all the time: these
 * interrupt calls that do not wait, which then have to be over before anybody else goes on. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, ROUNDS = 400, MAPS = 8, PAGE = 4096 };

static pthread_barrier_t all;
static atomic_int bad;

static void handle(int number) { (void)number; }

static void *work(void *argument) {
  long own = (long)argument;
  struct timespec shortly = {0, 20000};
  pthread_barrier_wait(&all);
  for (int round = 0; round < ROUNDS; round++) {
    char *memory[MAPS];
    for (int at = 0; at < MAPS; at++) {
      memory[at] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory[at][0] || memory[at][PAGE - 1]) bad++;
      memory[at][0] = memory[at][PAGE - 1] = (char)(own + 1);
    }
    nanosleep(&shortly, NULL);
    for (int at = 0; at < MAPS; at++) {
      if (memory[at][0] != own + 1 || memory[at][PAGE - 1] != own + 1) bad++;
      munmap(memory[at], PAGE);
    }
  }
  pthread_barrier_wait(&all);
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
  struct itimerval often = {{0, 250}, {0, 250}}, never = {{0, 0}, {0, 0}};
  pthread_t threads[THREADS];
  sigaction(SIGALRM, &action, NULL);
  pthread_barrier_init(&all, NULL, THREADS + 1);
  for (long own = 0; own < THREADS; own++) pthread_create(&threads[own], NULL, work, (void *)own);
  setitimer(ITIMER_REAL, &often, NULL);
  pthread_barrier_wait(&all);
  pthread_barrier_wait(&all);
  setitimer(ITIMER_REAL, &never, NULL);
  for (int own = 0; own < THREADS; own++) pthread_join(threads[own], NULL);
  printf("wrong: %d\n", bad);
  return bad != 0;
}
