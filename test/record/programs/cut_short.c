/* Threads that make calls without end, until their process ends: cut_short MILLISECONDS. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void *makes_calls(void *unused) {
  (void)unused;
  for (;;) {
    int ends[2];
    if (pipe(ends) != 0) abort();
    close(ends[0]), close(ends[1]);
    munmap(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
  }
}

int main(int argc, char **argv) {
  pthread_t thread;
  for (int i = 0; i < 8; i++) {
    if (pthread_create(&thread, NULL, makes_calls, NULL) != 0) return 1;
  }
  usleep(argc > 1 ? atoi(argv[1]) * 1000 : 0);
  _exit(0);
}
