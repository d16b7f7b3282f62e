/* Threads count under a mutex. Once each, they add to a total without it, and make a call between reading and writing: it is
   rare that another one comes in between. "sleep" has them sleep there, "yield" give way in a loop. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 8 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile int counted, total, ready;
static const char *manner = "";

static void *count(void *argument) {
  int me = (int)(long)argument;
  if (strcmp(manner, "yield") == 0) {
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (ready < THREADS) sched_yield();
  }
  for (int i = 0; i < ROUNDS; i++) {
    pthread_mutex_lock(&mutex);
    counted++;
    if (i % 3 == me % 3) getppid();
    pthread_mutex_unlock(&mutex);
    if (i == 5) {
      int seen = total;
      if (strcmp(manner, "sleep") == 0) usleep(200 * (me + 1));
      else access("/nonexistent", F_OK);
      total = seen + 1;
    }
  }
  return NULL;
}

int main(int count_of_words, char **words) {
  pthread_t threads[THREADS];
  if (count_of_words > 1) manner = words[1];
  for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, count, (void *)i);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  printf("%d of %d\n", total, THREADS);
  return total == THREADS ? 0 : 1;
}
