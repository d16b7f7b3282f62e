/*
 * Two threads that take turns, of which each tells the other under a lock that it takes by spinning, and reads the time stamp counter while it
 * holds it. Who waits for its turn asks for it at once again, so that the lock is held wherever a read of the counter ends.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>

static volatile int lock, turn, rounds;
static volatile unsigned long long last;

/* Whether it was this one's turn; it is the other one's then. */
static int passes_turn(int own)
{
	int is_own;

	while (__sync_lock_test_and_set(&lock, 1))
		while (lock)
			_mm_pause();
	last = __rdtsc();
	is_own = turn == own;
	if (is_own)
		turn = !own;
	__sync_lock_release(&lock);
	return is_own;
}

static void *other(void *argument)
{
	for (int i = 0; i < rounds; i++)
		while (!passes_turn(1))
			;
	return argument;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	rounds = argc > 1 ? atoi(argv[1]) : 1;
	if (pthread_create(&thread, NULL, other, NULL))
		return 1;
	for (int i = 0; i < rounds; i++)
		while (!passes_turn(0))
			;
	pthread_join(thread, NULL);
	puts("done");
	return 0;
}
