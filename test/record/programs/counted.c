/* N programs count in a file that all of them map, ROUNDS times each, and compute meanwhile; each prints what it has seen there. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 8192 };

static int count(const char *file, int rounds) {
  int fd = open(file, O_RDWR);
  _Atomic long *counter = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (counter == MAP_FAILED) return 1;
  /* What it is told of its memory is what it has asked for. */
  char line[512];
  int is_open = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
    unsigned long start;
    char rights[5];
    if (sscanf(line, "%lx-%*x %4s", &start, rights) == 2 && start == (unsigned long)counter)
      is_open = rights[0] == 'r' && rights[1] == 'w' && rights[3] == 's';
  }
  if (!is_open) return 2;
  long seen = 0;
  volatile unsigned work = 1;
  for (int i = 0; i < rounds; i++) {
    for (int k = 0; k < 50000; k++) work = work * 1664525u + 1013904223u;
    seen = seen * 31 + atomic_fetch_add(counter, 1);
  }
  printf("seen %ld\n", seen);
  return 0;
}

int main(int argc, char **argv) {
  int programs = atoi(argv[2]), rounds = atoi(argv[3]);
  if (argc > 4) return count(argv[1], rounds);
  int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || ftruncate(fd, BYTES) != 0) return 3;
  for (int i = 0; i < programs; i++) {
    if (fork() == 0) {
      execl("/proc/self/exe", argv[0], argv[1], argv[2], argv[3], "count", (char *)NULL);
      _exit(4);
    }
  }
  int status, failed = 0;
  while (wait(&status) > 0) failed |= status;
  long total;
  if (pread(fd, &total, sizeof total, 0) != sizeof total) return 5;
  printf("total %ld\n", total);
  return failed != 0;
}
