/* Calls that signals interrupt: restarted, not restarted, and by signals that no handler sees. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int ends[2];

static void handler(int signal) {
	(void)signal;
	if (write(ends[1], "x", 1) != 1)
		_exit(90);
}

static void handle(int flags) {
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	sigaction(SIGALRM, &action, NULL);
	struct itimerval soon = {.it_value = {.tv_usec = 50000}};
	setitimer(ITIMER_REAL, &soon, NULL);
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
	struct timespec wanted = {.tv_sec = 100}, left = {0};
	int result = nanosleep(&wanted, &left);
	printf("nanosleep %d %s, %s left\n", result, strerror(errno), left.tv_sec == 99 ? "99" : "other");
	/* SIGURG is ignored by default: nobody but a tracer notices it. */
	timer_t timer;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG};
	timer_create(CLOCK_MONOTONIC, &event, &timer);
	struct itimerspec soon = {.it_value = {.tv_nsec = 50000000}};
	timer_settime(timer, 0, &soon, NULL);
	struct timespec nap = {.tv_nsec = 150000000};
	printf("slept %d\n", nanosleep(&nap, NULL));
	timer_settime(timer, 0, &soon, NULL);
	printf("polled %d\n", poll(NULL, 0, 150));
	return 0;
}
