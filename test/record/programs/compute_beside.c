/*
 * Threads that compute without a call beside a thread with little to do. argv[1]: "sleeps": that one sleeps again and again; "signals": it
 * sends signals to one of them; "messages": it has another thread answer it.
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, ROUNDS = 20 };

static volatile int stop;
static volatile sig_atomic_t handled;
static double numbers[THREADS][1000];
static int asked[2], answered[2];

static void *compute(void *own)
{
	double *mine = own;

	while (!stop)
		for (int i = 0; i < 1000; i++)
			mine[i] = mine[i] * 1.0000001 + 1;
	return NULL;
}

static void *answer(void *unused)
{
	char byte;

	while (read(asked[0], &byte, 1) == 1)
		if (write(answered[1], &byte, 1) != 1)
			break;
	return unused;
}

static void take(int signal)
{
	handled++;
}

static void nap(void)
{
	struct timespec time = { .tv_nsec = 1000000 };

	nanosleep(&time, NULL);
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS], other;
	const char *mode = argc > 1 ? argv[1] : "";
	char byte = 0;

	signal(SIGUSR1, take);
	if (pipe(asked) != 0 || pipe(answered) != 0)
		return 1;
	pthread_create(&other, NULL, answer, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, compute, numbers[i]);
	for (int round = 0; round < ROUNDS; round++) {
		if (strcmp(mode, "messages") == 0) {
			for (int i = 0; i < 20; i++)
				if (write(asked[1], &byte, 1) != 1 || read(answered[0], &byte, 1) != 1)
					return 1;
		} else if (strcmp(mode, "signals") == 0) {
			pthread_kill(threads[0], SIGUSR1);
		}
		nap();
	}
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	close(asked[1]);
	pthread_join(other, NULL);
	printf("%s %d\n", mode, handled > 0);
	return 0;
}
