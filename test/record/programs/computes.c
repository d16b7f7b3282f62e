/*
 * Threads that compute without a call, and print what they found.
 *   computes sums      each adds up an array, in a loop of a few instructions, while much memory is in use
 *   computes crowded   each counts in a loop of short instructions, and memory is taken where a jump to it would be made of
 *                      nothing but instructions that trap
 *   computes constants each adds a number that the loop has twice: the second time it is read out of the instruction that has it
 *   computes pool      two wait for work in loops, one of them with an eye on the counter, and a third one for what they make of it
 *   computes patient   the same, but both count their turns, and look whether they are to pause from time to time
 *   computes far       the same, and a turn takes more than a hundred instructions
 *   computes team      they meet again and again, as threads of OpenMP do: who comes first looks for some milliseconds whether the
 *                      others have come, and sleeps then; how often all have looked is printed, too
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS = 3, WORDS = 1 << 14, ROUNDS = 40000, IN_USE = 40 << 20 };

static uint32_t words[WORDS];

static void *sums(void *result) {
  uint32_t sum = 0;
  for (int round = 0; round < ROUNDS; round++)
    for (volatile uint32_t *word = words; word < words + WORDS; word += 2) sum += *word ^ (uint32_t)round;
  *(uint32_t *)result = sum;
  return NULL;
}

static void *counts(void *result) {
  uint32_t a = 1, b = 0, left = 600000000;
  __asm__ volatile(
      "1:\n\tadd %0, %1\n\tinc %0\n\tdec %2\n\tjnz 1b"
      : "+r"(a), "+r"(b), "+r"(left));
  *(uint32_t *)result = a ^ b;
  return NULL;
}

static void *adds(void *result) {
  uint64_t sum = 1, number, left = 300000000;
  __asm__ volatile(
      "1:\n\tmovabs $0x123456789abcdef1, %1\n\tadd %1, %0\n\trol %0\n\tadd 1b+2(%%rip), %0\n\tdec %2\n\tjnz 1b"
      : "+r"(sum), "=&r"(number), "+r"(left)
      :
      : "cc");
  *(uint32_t *)result = (uint32_t)(sum ^ sum >> 32);
  return NULL;
}

/* Takes the memory at all distances from the code whose lower bytes are 0xcc. */
static void crowd(void) {
  enum { AROUND = 1 << 20 };
  uintptr_t code = (uintptr_t)counts;
  for (int upper = -128; upper < 128; upper++) {
    uintptr_t at = code + (intptr_t)upper * (1 << 24) + 0xcccccc - AROUND / 2;
    mmap((void *)(at & ~(uintptr_t)4095), AROUND, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  }
}

enum { JOBS = 200 };
static volatile uint32_t job[2], done[2];

static void *works(void *argument) {
  int own = (int)(intptr_t)argument;
  uint32_t last = 0;
  for (int k = 0; k < JOBS; k++) {
    while (job[own] == last)
      if (own) __builtin_ia32_rdtsc();
    last = job[own];
    uint32_t sum = last;
    for (int word = 0; word < WORDS; word++) sum = sum * 31 + words[word];
    done[own] = sum | 1;
  }
  return NULL;
}

static int turns_are_long;
static pthread_mutex_t pausing = PTHREAD_MUTEX_INITIALIZER;

static void *tries(void *argument) {
  int own = (int)(intptr_t)argument;
  uint32_t last = 0;
  for (int k = 0; k < JOBS; k++) {
    while (job[own] == last) {
      for (int turns = 0; turns < 1000000 && job[own] == last; turns++)
        if (turns_are_long) __asm__ volatile(".rept 100\n\tmov %0, %%eax\n\t.endr" : : "m"(words[0]) : "eax");
      pthread_mutex_lock(&pausing);
      pthread_mutex_unlock(&pausing);
    }
    last = job[own];
    done[own] = last | 1;
  }
  return NULL;
}

enum { LOOKS = 300000 };
static uint32_t arrived, meeting;
static volatile uint32_t looked[32];

static void meet(void) {
  uint32_t now = __atomic_load_n(&meeting, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == THREADS) {
    arrived = 0;
    __atomic_store_n(&meeting, now + 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &meeting, FUTEX_WAKE_PRIVATE, THREADS, NULL, NULL, 0);
    return;
  }
  for (int looks = 0; looks < LOOKS; looks++) {
    if (__atomic_load_n(&meeting, __ATOMIC_ACQUIRE) != now) return;
    looked[16]++;
    __builtin_ia32_pause();
  }
  while (__atomic_load_n(&meeting, __ATOMIC_ACQUIRE) == now) syscall(SYS_futex, &meeting, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
}

static void *meets(void *result) {
  uint32_t sum = 0;
  for (uint32_t k = 0; k < JOBS; k++) {
    for (int word = 0; word < WORDS; word++) sum = sum * 31 + words[word];
    meet();
  }
  *(uint32_t *)result = sum;
  return NULL;
}

static int pool(void *(*worker)(void *)) {
  pthread_t workers[2];
  uint32_t sum = 0;
  for (intptr_t k = 0; k < 2; k++) pthread_create(&workers[k], NULL, worker, (void *)k);
  for (uint32_t k = 1; k <= JOBS; k++) {
    for (int worker = 0; worker < 2; worker++) {
      done[worker] = 0;
      job[worker] = k + sum * 2;
    }
    for (int worker = 0; worker < 2; worker++) {
      while (!done[worker]) {}
      sum += done[worker];
    }
  }
  for (int k = 0; k < 2; k++) pthread_join(workers[k], NULL);
  printf("%u\n", sum);
  return 0;
}

int main(int argc, char **argv) {
  int is_crowded = argc > 1 && strcmp(argv[1], "crowded") == 0;
  int has_constants = argc > 1 && strcmp(argv[1], "constants") == 0;
  int is_team = argc > 1 && strcmp(argv[1], "team") == 0;
  void *(*computes)(void *) = is_crowded ? counts : has_constants ? adds : is_team ? meets : sums;
  turns_are_long = argc > 1 && strcmp(argv[1], "far") == 0;
  if (turns_are_long || (argc > 1 && strcmp(argv[1], "patient") == 0)) return pool(tries);
  pthread_t threads[THREADS];
  uint32_t results[THREADS];
  void *used = mmap(NULL, IN_USE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(used, 1, IN_USE);
  for (int k = 0; k < WORDS; k++) words[k] = (uint32_t)k * 2654435761u;
  if (argc > 1 && strcmp(argv[1], "pool") == 0) return pool(works);
  if (is_crowded) crowd();
  for (int k = 0; k < THREADS; k++) pthread_create(&threads[k], NULL, computes, &results[k]);
  for (int k = 0; k < THREADS; k++) pthread_join(threads[k], NULL);
  printf("%u %u %u, %u looks\n", results[0], results[1], results[2], looked[16]);
  return 0;
}
