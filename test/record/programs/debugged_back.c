/* Computes for long without a call, on a word of memory that it has in one of several ways, and crashes: what led there is looked for backwards. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static volatile long *word;
static volatile long turns;
static volatile long other;
static volatile char *volatile nowhere;

/* One step of a sequence that has no short cycle. */
static long mix(long value, long with) {
  return value * 6364136223846793005L + with;
}

__attribute__((noinline)) static long rarely(long value) {
  for (long k = 0; k < (value & 15); k++) value = mix(value, k);
  return value;
}

__attribute__((noinline)) static void lose(long value) {
  *nowhere = (char)value;
}

__attribute__((noinline)) static void compute(long most) {
  long value = 1;
  for (turns = 0; turns < most; turns++) {
    value = mix(value, turns);
    if ((turns & 1023) == 0) value = rarely(value);
    volatile long *to = (turns & 4095) == 7 ? word : &other;
    __asm__ volatile("mov %0, (%1)\n.globl behind_store\nbehind_store: nop" : : "r"(value), "r"(to) : "memory");
  }
  /* A repeated instruction: one step in the processor's way of counting. */
  char text[200];
  memset(text, (int)value, sizeof text);
  __asm__ volatile("rep movsb" : : "D"(text), "S"(text + 100), "c"(100) : "memory");
  *word = value;
  lose(value + text[3]);
}

int main(int argc, char **argv) {
  static long own;
  const char *how = argc > 1 ? argv[1] : "";
  word = &own;
  if (strcmp(how, "") != 0) {
    int flags = strcmp(how, "shared") == 0 ? MAP_SHARED : MAP_PRIVATE;
    word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (strcmp(how, "kept") == 0) madvise((void *)word, 4096, MADV_DONTFORK);
    if (strcmp(how, "wiped") == 0) madvise((void *)word, 4096, MADV_WIPEONFORK);
  }
  *word = 5;
  compute(argc > 2 ? atol(argv[2]) : 1000000);
  return 0;
}
