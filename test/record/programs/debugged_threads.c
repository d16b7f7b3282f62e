/* Threads that add to a number under a lock, and compute long enough to lose their turn. */

#include <pthread.h>
#include <stdio.h>

#define THREADS 3

long counter;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t together;

__attribute__((noinline)) static void step(long by) {
  pthread_mutex_lock(&lock);
  counter += by;
  pthread_mutex_unlock(&lock);
}

static void *work(void *argument) {
  long own = (long)argument;
  pthread_barrier_wait(&together);
  for (int round = 0; round < 2; round++) {
    step(own);
    for (volatile long k = 0; k < 40000000; k++) {
    }
  }
  return NULL;
}

int main(void) {
  pthread_t threads[THREADS];
  pthread_barrier_init(&together, NULL, THREADS);
  for (long k = 0; k < THREADS; k++) pthread_create(&threads[k], NULL, work, (void *)(k + 1));
  for (int k = 0; k < THREADS; k++) pthread_join(threads[k], NULL);
  printf("%ld\n", counter);
  return counter == 12 ? 0 : 1;
}
