/* Two processes that hand a number to and fro in shared memory. Who waits for it polls, looks at the time stamp counter, and counts. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

static volatile unsigned long polls[100];
static unsigned long long since;

static void progress(void)
{
	if (__rdtsc() - since > 1000000) {
		since = __rdtsc();
		poll(NULL, 0, 0);
	}
	for (int i = 0; i < 100; i++)
		polls[i]++;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1000;
	volatile int *turn = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t child;

	if (turn == MAP_FAILED)
		return 2;
	since = __rdtsc();
	child = fork();
	for (int i = 0; i < rounds; i++) {
		while (*turn != 2 * i + (child == 0))
			progress();
		++*turn;
	}
	if (child == 0)
		return 0;
	if (waitpid(child, &status, 0) != child || status != 0 || *turn != 2 * rounds)
		return 1;
	puts("handed over");
	return 0;
}
