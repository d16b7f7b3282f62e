/* Keeps what cpuid tells of the CPU that it runs on, and is interrupted while it computes. */
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

static unsigned kept[4];
static volatile sig_atomic_t came;

static void on_alarm(int number)
{
	(void)number;
	came = 1;
}

/* Apart, so that no register keeps what it was told. */
static __attribute__((noinline)) int ask(void)
{
	return __get_cpuid(1, &kept[0], &kept[1], &kept[2], &kept[3]);
}

int main(void)
{
	struct itimerval soon = { .it_value = { .tv_usec = 30000 } };
	unsigned long turns = 0;

	if (!ask())
		return 1;
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &soon, NULL);
	while (!came)
		turns = turns * 6364136223846793005ul + 1;
	printf("%s\n", turns ? "interrupted" : "at once");
	return 0;
}
