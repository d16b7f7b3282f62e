/* Waits while signals come that nothing is done about: none of its calls may end by them, and none may take longer for them. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int is_over, interrupted;

static long wait_for(int milliseconds) {
	static __thread int set;
	struct epoll_event event;
	if (set == 0)
		set = epoll_create1(0);
	return epoll_wait(set, &event, 1, milliseconds);
}

static double now(void) {
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static void *waits(void *unused) {
	while (!is_over)
		if (wait_for(20) != 0)
			interrupted++;
	return unused;
}

/* Of each end of a child a signal tells one of the threads. */
static void *makes_children(void *unused) {
	for (int k = 0; k < 100; k++) {
		pid_t child = fork();
		if (child == 0)
			_exit(0);
		if (waitpid(child, NULL, 0) != child)
			interrupted++;
	}
	return unused;
}

int main(void) {
	pid_t own = getpid(), child = fork();
	if (child == 0) {
		/* For longer than is waited; it ends with its parent. */
		for (int k = 0; k < 500 && getppid() == own; k++) {
			kill(own, SIGWINCH);
			usleep(10000);
		}
		_exit(0);
	}
	double began = now();
	long result = wait_for(150);
	double took = now() - began;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	printf("timed %ld, %s\n", result, took < 149 ? "too short" : took > 2000 ? "too long" : "in time");
	fflush(stdout);
	pthread_t waiting[3], making[3];
	for (int k = 0; k < 3; k++)
		pthread_create(&waiting[k], NULL, waits, NULL);
	for (int k = 0; k < 3; k++)
		pthread_create(&making[k], NULL, makes_children, NULL);
	for (int k = 0; k < 3; k++)
		pthread_join(making[k], NULL);
	is_over = 1;
	for (int k = 0; k < 3; k++)
		pthread_join(waiting[k], NULL);
	printf("interrupted %d\n", interrupted);
	return interrupted != 0;
}
