/* Maps small files again and again, and finds in each what is in it. Between them it does what shows whether memory that it has given
 * back is gone, whether what it may only read can be written to, and what else depends on what is mapped. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, FILES = 8, ROUNDS = 24 };

static const size_t sizes[FILES] = {1, 300, 1023, 1024, 4095, 4096, 4097, 9000};
static sigjmp_buf back;
static volatile int signal_taken;

static char byte_of(int file, size_t at) { return (char)(file * 31 + at * 7 + at / 251 + 1); }

static void take(int number, siginfo_t *info, void *context) {
  (void)info, (void)context;
  signal_taken = number;
  siglongjmp(back, 1);
}

static int faults_reading(const volatile char *at) {
  signal_taken = 0;
  if (sigsetjmp(back, 1) == 0) (void)*at;
  return signal_taken;
}

static int faults_writing(volatile char *at) {
  signal_taken = 0;
  if (sigsetjmp(back, 1) == 0) *at = 1;
  return signal_taken;
}

static size_t pages_of(size_t length) { return (length + PAGE - 1) & ~(size_t)(PAGE - 1); }

static char *map(int file, int prot) {
  char name[16];
  snprintf(name, sizeof name, "file%d", file);
  int fd = open(name, O_RDONLY);
  char *memory = mmap(NULL, sizes[file], prot, MAP_PRIVATE, fd, 0);
  close(fd);
  if (fd < 0 || memory == MAP_FAILED) _exit(3);
  return memory;
}

/* Whether there is in it what its file has, and nothing behind. */
static int is_as_file(const char *memory, int file) {
  for (size_t at = 0; at < pages_of(sizes[file]); at++)
    if (memory[at] != (at < sizes[file] ? byte_of(file, at) : 0)) return 0;
  return 1;
}

static void unmap(char *memory, int file) {
  if (munmap(memory, sizes[file])) _exit(4);
}

/* Enough for the pages to stay in replay. */
static void warm(void) {
  unsigned good = 0;
  for (int round = 0; round < ROUNDS; round++)
    for (int file = 0; file < FILES; file++) {
      char *memory = map(file, PROT_READ);
      good += is_as_file(memory, file);
      unmap(memory, file);
    }
  printf("as in the file: %u\n", good);
}

static void *in_thread(void *memory) {
  char *own = map(2, PROT_READ);
  printf("thread: %d %d\n", is_as_file(memory, 1), is_as_file(own, 2));
  unmap(own, 2);
  return NULL;
}

int main(void) {
  struct sigaction action = {.sa_sigaction = take, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  for (int file = 0; file < FILES; file++) {
    char name[16];
    snprintf(name, sizeof name, "file%d", file);
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    for (size_t at = 0; at < sizes[file]; at++) {
      char byte = byte_of(file, at);
      if (pwrite(fd, &byte, 1, (off_t)at) != 1) return 2;
    }
    close(fd);
  }

  warm();
  char *one = map(1, PROT_READ), *two = map(6, PROT_READ | PROT_WRITE), *three = map(7, PROT_READ);
  printf("together: %d %d %d\n", is_as_file(one, 1), is_as_file(two, 6), is_as_file(three, 7));
  two[4096] = 'x';
  printf("writing: %d %d %d\n", faults_writing(one), faults_writing(two), faults_writing(three));
  printf("after that: %d %d %d\n", is_as_file(one, 1), two[0] == 1 && two[4096] == 'x', is_as_file(three, 7));
  unmap(one, 1), unmap(two, 6), unmap(three, 7);

  warm();
  one = map(5, PROT_READ);
  unmap(one, 5);
  printf("gone: %d\n", faults_reading(one));

  warm();
  one = map(1, PROT_READ), two = map(7, PROT_READ | PROT_WRITE);
  two[5000] = 'y';
  fflush(stdout);
  if (fork() == 0) {
    printf("child: %d %d %d\n", is_as_file(one, 1), two[5000], faults_writing(one));
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
  pthread_t thread;
  pthread_create(&thread, NULL, in_thread, one);
  pthread_join(thread, NULL);
  unmap(one, 1), unmap(two, 7);

  warm();
  two = map(7, PROT_READ);
  munmap(two + PAGE, PAGE);
  printf("without its middle: %d %d %d\n", faults_reading(two), faults_reading(two + PAGE), faults_reading(two + 2 * PAGE));
  munmap(two, 3 * PAGE);

  warm();
  one = map(4, PROT_READ);
  if (mprotect(one, PAGE, PROT_READ | PROT_WRITE)) return 5;
  one[9] = 'z';
  one = mremap(one, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
  printf("moved: %d %d\n", one[9], one[10] == byte_of(4, 10));
  munmap(one, 2 * PAGE);

  warm();
  one = map(3, PROT_READ);
  unmap(one, 3);
  two = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int sum = 0;
  for (size_t at = 0; at < 4 * PAGE; at++) sum |= two[at];
  printf("new memory: %d\n", sum);
  munmap(two, 4 * PAGE);

  warm();
  two = map(7, PROT_READ);
  if (mprotect(two, 2 * PAGE, PROT_READ | PROT_WRITE)) return 6;
  two[7] = two[5000] = 'w';
  madvise(two, PAGE, MADV_DONTNEED);
  printf("as new: %d %d\n", is_as_file(two, 7), two[5000]);
  two[5000] = byte_of(7, 5000);
  printf("whole: %d\n", is_as_file(two, 7));
  unmap(two, 7);

  warm();
  printf("end\n");
  fflush(stdout);
  one = map(4, PROT_READ);
  signal(SIGSEGV, SIG_DFL);
  unmap(one, 4);
  return one[0];
}
