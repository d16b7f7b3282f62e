/* A program with many states to go back to: threads with registers of their own, handlers on stacks of their own, memory that a child shares. */

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 3, TURNS = 400 };

long turns;
double sums[THREADS];
int handled[THREADS];
long *shared;
static char stacks[THREADS][1 << 16];
static __thread int own;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((noinline)) void tick(int thread, double sum) {
  sums[thread] = sum;
  turns++;
}

/* On a stack of its own, as the kernel was told for this thread. */
static void handle(int number) {
  char here;
  (void)number;
  if (&here < stacks[own] || &here >= stacks[own] + sizeof stacks[own]) abort();
  getpid();
  handled[own]++;
}

static void *work(void *argument) {
  own = *(int *)argument;
  stack_t stack = {.ss_sp = stacks[own], .ss_size = sizeof stacks[own]};
  if (sigaltstack(&stack, NULL) != 0) abort();
  double sum = own;
  for (int k = 0; k < TURNS; k++) {
    /* The sum stays in a vector register over calls. */
    sum = sum * 1.0001 + 1;
    getppid();
    if (k % 50 == 49) pthread_kill(pthread_self(), SIGUSR1);
    pthread_mutex_lock(&lock);
    tick(own, sum);
    pthread_mutex_unlock(&lock);
    if (k % 16 == 0) usleep(10);
  }
  return NULL;
}

int main(int argc, char **argv) {
  int with_child = argc > 1 && strcmp(argv[1], "child") == 0;
  if (with_child) shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, NULL);
  pid_t child = with_child ? fork() : 0;
  if (with_child && child == 0) {
    for (int k = 0; k < TURNS; k++) {
      __atomic_fetch_add(shared, 1, __ATOMIC_SEQ_CST);
      getppid();
    }
    _exit(0);
  }
  pthread_t threads[THREADS];
  int numbers[THREADS];
  for (int k = 1; k < THREADS; k++) {
    numbers[k] = k;
    pthread_create(&threads[k], NULL, work, &numbers[k]);
  }
  numbers[0] = 0;
  work(&numbers[0]);
  for (int k = 1; k < THREADS; k++) pthread_join(threads[k], NULL);
  if (with_child) waitpid(child, NULL, 0);
  printf("%ld %d %.6f %ld\n", turns, handled[0] + handled[1] + handled[2], sums[0] + sums[1] + sums[2],
         with_child ? *shared : 0L);
  return turns == THREADS * TURNS ? 0 : 1;
}
