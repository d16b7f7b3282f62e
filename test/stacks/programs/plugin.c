/* A library that is loaded while the program runs: calls of its constructor, its functions and what these call back. */
#include <string.h>
#include <unistd.h>

static volatile int sink;

__attribute__((constructor)) static void loaded(void) {
    sink = (int)write(1, "loaded\n", 7);
}

__attribute__((destructor)) static void unloaded(void) {
    sink = (int)write(1, "unloaded\n", 9);
}

int apply(int (*function)(const char *), const char *text) {
    sink = (int)write(1, text, strlen(text));
    return function(text) + sink;
}
