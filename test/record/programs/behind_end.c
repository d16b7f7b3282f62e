/* What is written to a shared mapping behind the end of its file is not in the file, but the next to map it sees it: faketime(1) keeps its
 * clocks there. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 8, PLACE = 16, PAGE = 4096 };

static const char *name;

static char *map(int flags) {
  int file = shm_open(name, O_RDWR, 0);
  char *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, flags, file, 0);
  if (memory == MAP_FAILED) _exit(1);
  close(file);
  return memory;
}

static void show(const char *who, int flags) {
  char *memory = map(flags);
  printf("%s %.8s\n", who, memory + PLACE);
  fflush(stdout);
  munmap(memory, PAGE);
}

static void leave(const char *text) {
  char *memory = map(MAP_SHARED);
  memcpy(memory + PLACE, text, strlen(text) + 1);
  munmap(memory, PAGE);
}

static int in_child(void act(const char *), const char *text) {
  int status = 1;
  if (fork() == 0) {
    act(text);
    _exit(0);
  }
  wait(&status);
  return status;
}

static void show_shared(const char *who) { show(who, MAP_SHARED); }

/* NAME leave: makes the file and leaves something. NAME: shows that, and what it and its child leave. */
int main(int argc, char **argv) {
  name = argv[1];
  if (argc > 2) {
    int file = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (file < 0 || ftruncate(file, SIZE)) return 1;
    leave("outside");
    return 0;
  }
  show("before", MAP_SHARED);
  leave("first");
  show("alone", MAP_PRIVATE);
  int failed = in_child(show_shared, "child");
  failed |= in_child(leave, "second");
  show("parent", MAP_SHARED);
  show("again", MAP_PRIVATE);
  shm_unlink(name);
  return failed;
}
