/* Calls from functions of many shapes: inlined, recursive, with a frame of unknown size, from a handler, through a pointer. */
#include <alloca.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile int sink;
static jmp_buf back;

static inline __attribute__((always_inline)) void emit(const char *text) {
    sink = (int)write(1, text, strlen(text));
}

static inline __attribute__((always_inline)) void twice(const char *text) {
    emit(text);
    emit(text);
}

__attribute__((noinline)) static int recursive(int depth) {
    if (depth == 0) {
        twice("deep\n");
        return 1;
    }
    int below = recursive(depth - 1);
    sink = (int)getppid();
    return below + sink;
}

__attribute__((noinline)) static void sized(int bytes) {
    char *room = alloca((size_t)bytes);
    memset(room, 'a', (size_t)bytes);
    room[bytes - 1] = '\n';
    sink = (int)write(1, room, (size_t)bytes);
    sink += room[0];
}

__attribute__((noinline)) static void aligned(void) {
    char room[64] __attribute__((aligned(64)));
    memset(room, 'b', sizeof room);
    sink = (int)write(1, room, sizeof room);
    sink += room[1];
}

static void handler(int signal) {
    emit("handled\n");
    sink = signal;
}

static void leaving(int signal) {
    emit("leaving\n");
    siglongjmp(back, signal);
}

static int compare(const void *one, const void *other) {
    sink = (int)getppid();
    return *(const int *)one - *(const int *)other;
}

__attribute__((noinline)) static void called_back(void) {
    int values[] = {3, 1, 2};
    qsort(values, 3, sizeof values[0], compare);
    sink = values[0];
}

__attribute__((noinline)) static void through_pointer(void (*function)(int), int value) {
    function(value);
    sink = value;
}

static void at_end(void) {
    emit("end\n");
    sink = 0;
}

int main(void) {
    atexit(at_end);
    recursive(3);
    sized(100);
    aligned();
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    signal(SIGUSR2, leaving);
    if (sigsetjmp(back, 1) == 0)
        raise(SIGUSR2);
    called_back();
    through_pointer(sized, 20);
    return 0;
}
