/* Calls that signals interrupt: restarted, not restarted, and by signals that no handler sees. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int ends[2];

static void handler(int signal) {
	(void)signal;
	if (write(ends[1], "x", 1) != 1)
		_exit(90);
}

/* Whether the process sleeps in a call, proc_pid_stat(5). */
static int sleeps(int stat) {
	char text[512] = "";
	if (pread(stat, text, sizeof text - 1, 0) < 0)
		_exit(92);
	char *state = strrchr(text, ')');
	return state != NULL && state[1] == ' ' && state[2] == 'S';
}

/* Sends this process a signal when it has been in its next call for a while, however long it takes to get there. */
static void signal_soon(int signal) {
	char name[64];
	pid_t own = getpid();
	snprintf(name, sizeof name, "/proc/%d/stat", own);
	fflush(stdout);
	/* A child whose end no signal tells of: that would interrupt calls too. */
	if (syscall(SYS_clone, 0, 0, 0, 0, 0) != 0)
		return;
	int stat = open(name, O_RDONLY);
	while (!sleeps(stat))
		sched_yield();
	usleep(50000);
	kill(own, signal);
	_exit(0);
}

static double seconds(struct timespec time) { return time.tv_sec + time.tv_nsec / 1e9; }

static void handle(int flags) {
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	sigaction(SIGALRM, &action, NULL);
	signal_soon(SIGALRM);
}

int main(void) {
	char byte;
	if (pipe(ends) != 0)
		return 91;
	handle(SA_RESTART);
	printf("restarted %zd\n", read(ends[0], &byte, 1));
	handle(0);
	errno = 0;
	ssize_t got = read(ends[0], &byte, 1);
	printf("interrupted %zd %s\n", got, strerror(errno));
	got = read(ends[0], &byte, 1);
	handle(SA_RESTART);
	struct timespec wanted = {.tv_sec = 100}, left = {0}, before, after;
	clock_gettime(CLOCK_MONOTONIC, &before);
	int result = nanosleep(&wanted, &left);
	clock_gettime(CLOCK_MONOTONIC, &after);
	/* It has slept until the signal, and no longer than the clock says. */
	double slept = seconds(wanted) - seconds(left);
	int is_rest = slept >= 0.05 && slept <= seconds(after) - seconds(before);
	printf("nanosleep %d %s, %s left\n", result, strerror(errno), is_rest ? "the rest" : "other");
	/* SIGURG is ignored by default: nobody but a tracer notices it. */
	struct timespec nap = {.tv_sec = 1};
	signal_soon(SIGURG);
	printf("slept %d\n", nanosleep(&nap, NULL));
	signal_soon(SIGURG);
	printf("polled %d\n", poll(NULL, 0, 1000));
	return 0;
}
