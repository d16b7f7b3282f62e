/* Leaves a process behind with threads that make calls of many kinds, and children, all the time. Any call that does not come to what it
 * comes to without a recorder is counted. It ends when the file GO is there, and some time after; what it found is in the file RESULT. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static atomic_int wrong, turns, alarms;
static atomic_bool ends;

static void check(int holds, const char *what) {
    if (!holds) {
        int error = errno;
        if (wrong++ < 5) fprintf(stderr, "%s: %s\n", what, strerror(error));
    }
}

static void *busy(void *unused) {
    (void)unused;
    pid_t own = getpid();
    int zero = open("/dev/zero", O_RDONLY);
    while (!ends) {
        char bytes[64];
        memset(bytes, 1, sizeof bytes);
        check(syscall(SYS_getpid) == own, "getpid");
        check(read(zero, bytes, sizeof bytes) == sizeof bytes && bytes[0] == 0 && bytes[63] == 0, "read");
        check(open("/nowhere", O_RDONLY) == -1 && errno == ENOENT, "open");
        check(syscall(SYS_getpriority, 0, 0) > 0, "getpriority");
        turns++;
    }
    close(zero);
    return NULL;
}

/* In a call nearly all the time. */
static void *sleepy(void *unused) {
    (void)unused;
    while (!ends) {
        struct timespec left, wanted = {0, 20 * 1000 * 1000};
        while (nanosleep(&wanted, &left) != 0) {
            check(errno == EINTR, "nanosleep");
            wanted = left;
        }
        turns++;
    }
    return NULL;
}

static void *piped(void *ends_of_pipe) {
    int *fds = ends_of_pipe;
    char byte = 7;
    while (read(fds[0], &byte, 1) == 1) check(byte == 7, "pipe");
    return NULL;
}

static void on_alarm(int signal) {
    (void)signal;
    alarms++;
}

static void children(void) {
    char *words[] = {"true", NULL};
    pid_t child;
    int status = -1;
    check(posix_spawn(&child, "/bin/true", NULL, NULL, words, environ) == 0, "posix_spawn");
    check(waitpid(child, &status, 0) == child && status == 0, "true");
    child = fork();
    if (child == 0) _exit(getppid() > 0 && syscall(SYS_gettid) == getpid() ? 0 : 1);
    check(child > 0 && waitpid(child, &status, 0) == child && status == 0, "fork");
}

int main(int count, char **words) {
    if (count != 5) return 2;
    const char *ready = words[1], *go = words[2], *result = words[3];
    int threads = atoi(words[4]);
    pid_t child = fork();
    if (child != 0) {
        while (access(ready, F_OK) != 0) usleep(1000);
        return 7;
    }
    setsid();
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerspec every = {{0, 7 * 1000 * 1000}, {0, 7 * 1000 * 1000}};
    timer_t timer;
    timer_create(CLOCK_MONOTONIC, NULL, &timer);
    timer_settime(timer, 0, &every, NULL);
    int fds[2];
    check(pipe(fds) == 0, "pipe");
    pthread_t all[32];
    for (int k = 0; k < threads; k++) pthread_create(&all[k], NULL, k % 3 == 0 ? piped : k % 3 == 1 ? busy : sleepy, fds);
    int after = 0;
    for (int k = 0; after < 40; k++) {
        children();
        char byte = 7;
        if (threads > 0) check(write(fds[1], &byte, 1) == 1, "write");
        if (k == 20) close(open(ready, O_CREAT | O_WRONLY, 0666));
        if (access(go, F_OK) == 0) after++;
    }
    /* All of them go on, or this never ends: how soon is the scheduler's business. */
    int late = turns, before = alarms;
    while (threads >= 2 && turns == late) usleep(1000);
    ends = 1;
    close(fds[1]);
    for (int k = 0; k < threads; k++) pthread_join(all[k], NULL);
    while (alarms == before) usleep(1000);
    FILE *out = fopen(result, "w");
    fprintf(out, "%d wrong\n", (int)wrong);
    fclose(out);
    return 0;
}
