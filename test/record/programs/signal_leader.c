/*
 * A thread sends signals to its own process, and a timer does, while the first thread waits in a call: that one gets them, signal(7). For
 * each way to wait it is printed who has handled how many.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { TIMES = 12 };
enum way { SIGSUSPEND, POLL, PPOLL, SELECT, NANOSLEEP, FUTEX, READ, WAYS };

static const char *const names[] = { "sigsuspend", "poll", "ppoll", "select", "nanosleep", "futex", "read" };
static const struct timespec rest = { 0, 3000000 }, long_time = { 100, 0 };
static const struct itimerval soon = { { 0, 0 }, { 0, 1000 } };
static volatile int by_first, by_others;
static int ends[2];
static sem_t waits_soon, is_over;

static void on_signal(int number)
{
	(void)number;
	if (syscall(SYS_gettid) == getpid())
		by_first++;
	else
		by_others++;
}

/* Whether the first thread sleeps: it has come to where it waits. */
static int sleeps(void)
{
	char path[64], stat[256] = "", *state;
	FILE *file;

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
	file = fopen(path, "r");
	if (!file || !fgets(stat, sizeof stat, file))
		_exit(1);
	fclose(file);
	state = strrchr(stat, ')');
	return state && state[2] == 'S';
}

static void *sends(void *unused)
{
	for (int i = 0; i < TIMES; i++) {
		sem_wait(&waits_soon);
		do
			nanosleep(&rest, NULL);
		while (!sleeps());
		if (i % 3 == 2)
			setitimer(ITIMER_REAL, &soon, NULL);
		else
			kill(getpid(), SIGUSR1);
		while (by_first + by_others <= i)
			getppid();
		nanosleep(&rest, NULL);
		if (write(ends[1], "x", 1) != 1)
			return NULL;
		sem_post(&is_over);
	}
	return unused;
}

static void wait_once(enum way way)
{
	struct pollfd polled = { ends[0], POLLIN, 0 };
	char byte = 0;
	sigset_t none;
	fd_set set;

	sigemptyset(&none);
	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	sem_post(&waits_soon);
	if (way == SIGSUSPEND)
		sigsuspend(&none);
	else if (way == POLL)
		poll(&polled, 1, -1);
	else if (way == PPOLL)
		ppoll(&polled, 1, &long_time, &none);
	else if (way == SELECT)
		select(ends[0] + 1, &set, NULL, NULL, NULL);
	else if (way == NANOSLEEP)
		nanosleep(&long_time, NULL);
	else if (way == READ && read(ends[0], &byte, 1) != 1)
		byte = 0;
	while (sem_wait(&is_over) != 0) {}
	if (!byte && read(ends[0], &byte, 1) != 1)
		_exit(1);
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	if (pipe(ends) != 0 || sem_init(&is_over, 0, 0) != 0 || sem_init(&waits_soon, 0, 0) != 0)
		return 1;
	for (enum way way = 0; way < WAYS; way++) {
		pthread_t thread;
		sigset_t taken;

		by_first = by_others = 0;
		if (pthread_create(&thread, NULL, sends, NULL) != 0)
			return 1;
		/* The first thread takes them only while it waits so. */
		sigemptyset(&taken);
		sigaddset(&taken, SIGUSR1);
		sigaddset(&taken, SIGALRM);
		pthread_sigmask(way == SIGSUSPEND || way == PPOLL ? SIG_BLOCK : SIG_UNBLOCK, &taken, NULL);
		for (int i = 0; i < TIMES; i++)
			wait_once(way);
		pthread_sigmask(SIG_UNBLOCK, &taken, NULL);
		pthread_join(thread, NULL);
		printf("%s: %d by the first thread, %d by others\n", names[way], by_first, by_others);
	}
	return 0;
}
