/*
 * Two threads that ask the clock again and again from one place, with a little work in between, and take turns. One has waited for the other
 * in a loop before, so that the recorder looks now and then at what they do. What they have counted is told on the way.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 100, POLLS = 2000, WORK = 200, LONG = 500000000 };

static volatile unsigned long counter;
static volatile int ready;
static int sink;

/* clock_gettime, always by the same instruction: the C library has several. */
static __attribute__((noinline)) void ask_clock(struct timespec *now)
{
	long result;

	__asm__ volatile("mov $228, %%rax\n\tsyscall"
			 : "=a"(result)
			 : "D"(CLOCK_MONOTONIC), "S"(now)
			 : "rcx", "r11", "memory");
}

static void *poll_clock(void *waits)
{
	if (waits)
		while (!ready)
			__asm__ volatile("pause");
	for (long k = 0; !waits && k < LONG; k++)
		__asm__ volatile("");
	ready = 1;
	for (int round = 0; round < ROUNDS; round++) {
		struct timespec now;
		unsigned long seen;

		for (int poll = 0; poll < POLLS; poll++) {
			ask_clock(&now);
			for (int k = 0; k < WORK; k++)
				counter++;
		}
		seen = counter;
		if (write(sink, &seen, sizeof(seen)) != sizeof(seen))
			return "write";
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[2];
	void *wrong = NULL;

	sink = open("/dev/null", O_WRONLY);
	for (int k = 0; k < 2; k++)
		pthread_create(&threads[k], NULL, poll_clock, k ? &threads : NULL);
	for (int k = 0; k < 2 && !wrong; k++)
		pthread_join(threads[k], &wrong);
	puts(wrong ? wrong : "done");
	return !!wrong;
}
