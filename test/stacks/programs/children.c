/* Calls of a child: on the stack of its parent, on a copy of it, and after an exec. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int sink;

__attribute__((noinline)) static void emit(const char *text) {
    sink = (int)write(1, text, strlen(text));
}

__attribute__((noinline)) static int child(const char *text) {
    emit(text);
    return getppid() > 0 ? 0 : 1;
}

__attribute__((noinline)) static pid_t start(void) {
#ifdef SHARED
    pid_t pid = vfork();
#else
    pid_t pid = fork();
#endif
    if (pid == 0)
        _exit(child("child\n"));
    return pid;
}

int main(void) {
    int status = 0;
    pid_t pid = start();
    waitpid(pid, &status, 0);
    emit("parent\n");
    return status;
}
