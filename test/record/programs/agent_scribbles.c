/*
 * Writes where the agent of a replay has its pages, if that can be written to: in a recording by ptrace nothing is there, and each
 * attempt ends in the handler. Then it makes calls whose results it prints.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static sigjmp_buf back;

static void caught(int signal) {
  siglongjmp(back, signal);
}

/* The start of the agent's pages, its control block, and where that says what the next and the last answer are. */
enum { BASE = 0x70000000, BLOCK = BASE + 0x4000, NEXT = BLOCK + 32, END = BLOCK + 40, ALL = 0x48000 };

static int put(uintptr_t at, const void *bytes, size_t length) {
  if (sigsetjmp(back, 1)) return 0;
  memcpy((void *)at, bytes, length);
  return 1;
}

static int get(void *bytes, uintptr_t at, size_t length) {
  if (sigsetjmp(back, 1)) return 0;
  memcpy(bytes, (const void *)at, length);
  return 1;
}

int main(int argc, char **argv) {
  signal(SIGSEGV, caught);
  long sum = 0;
  for (int i = 0; i < 1000; i++) sum += syscall(SYS_getppid) > 0;
  static char all[ALL - 0x4000];
  uint64_t word = 0;
  int done = 0;
  const char *how = argc > 1 ? argv[1] : "";
  if (!strcmp(how, "zero") || !strcmp(how, "ones")) {
    memset(all, how[0] == 'z' ? 0 : 0xff, sizeof all);
    done = put(BLOCK, all, sizeof all);
  } else if (!strcmp(how, "skip")) {
    done = get(&word, END, 8) && put(NEXT, &word, 8);
  } else if (!strcmp(how, "again")) {
    word = BLOCK + 0x4000;
    done = put(NEXT, &word, 8);
  } else if (!strcmp(how, "beyond")) {
    word = BASE + ALL - 8;
    done = put(NEXT, &word, 8) && put(END, (word = ~0ull, &word), 8);
  } else if (!strcmp(how, "inside")) {
    done = get(&word, NEXT, 8) && put(NEXT, (word += 8, &word), 8);
  }
  for (int i = 0; i < 1000; i++) sum += syscall(SYS_getpid) == getpid();
  printf("%s %d %ld\n", how, done, sum);
  return 0;
}
