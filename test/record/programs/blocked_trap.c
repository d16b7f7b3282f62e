/* Blocks all signals, sends itself SIGSYS and SIGTRAP, makes many calls, and unblocks them: both have handlers. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static volatile int traps;
static void count(int number) { traps += number == SIGTRAP; }

int main(void)
{
	sigset_t all, old;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	signal(SIGTRAP, count);
	signal(SIGSYS, count);
	kill(getpid(), SIGSYS);
	kill(getpid(), SIGTRAP);
	for (int i = 0; i < 500; i++) getppid();
	sigprocmask(SIG_SETMASK, &old, NULL);
	for (int i = 0; i < 500; i++) getppid();
	puts(traps == 1 ? "trap handled" : "trap lost");
	return 0;
}
