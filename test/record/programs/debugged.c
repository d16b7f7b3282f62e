/* A list that grows, a handler, a child and a new program: something to look at with a debugger. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct node {
  int value;
  struct node *next;
};

int total;
struct node *head;
int handled;
long storage[4] = {1, 2, 3, 4};
long *pointer = storage;

__attribute__((noinline)) void add(int value) {
  struct node *node = malloc(sizeof *node);
  node->value = value;
  node->next = head;
  head = node;
  total += value;
}

static void handle(int number) { handled = number; }

/* What goes wrong is seen much later. */
static void lose(void) { pointer = NULL; }

static void in_child(int value) {
  total = 1000 + value;
  _exit(value);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  signal(SIGUSR1, handle);
  for (int k = 0; k < 5; k++) {
    add(k * k);
    printf("%d: %d\n", k, total);
    fflush(stdout);
  }
  raise(SIGUSR1);
  if (strcmp(what, "child") == 0) {
    int status;
    pid_t child = fork();
    if (child == 0) in_child(7);
    waitpid(child, &status, 0);
    if (WEXITSTATUS(status) != 7) return 1;
  }
  if (strcmp(what, "executes") == 0) execl(argv[0], argv[0], "again", NULL);
  if (strcmp(what, "crash") == 0) lose();
  for (int k = 0; k < 100; k++) storage[k % 4] += k;
  pointer[1] = 5;
  return total == 30 ? 0 : 1;
}
