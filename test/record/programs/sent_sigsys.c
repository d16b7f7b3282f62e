/*
 * `sent_sigsys N`: another thread sends SIGSYS to the first one all the time, which handles it and makes N calls at places that nobody
 * has come to. Each has to have its result.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, PLACE = 64, PLACES = PAGE / PLACE, AT_ONCE = 16, MOST = 200000 };

/* mov $SYS_getpid, %eax; syscall; ret */
static const unsigned char CODE[] = {0xb8, SYS_getpid, 0, 0, 0, 0x0f, 0x05, 0xc3};

static volatile sig_atomic_t handled, done;

static void on_sigsys(int number) { handled += number == SIGSYS; }

static void *send_all(void *thread)
{
	for (int i = 0; !done && i < MOST; i++) {
		syscall(SYS_tgkill, getpid(), *(pid_t *)thread, SIGSYS);
		if (i % AT_ONCE == 0) sched_yield();
	}
	return NULL;
}

/* Makes a call at each place of new code; how many had another result than this, or -1. */
static int call_everywhere(long expected)
{
	char *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int wrong = 0;

	if (code == MAP_FAILED) return -1;
	for (int i = 0; i < PLACES; i++)
		memcpy(code + i * PLACE, CODE, sizeof CODE);
	if (mprotect(code, PAGE, PROT_READ | PROT_EXEC)) return -1;
	for (int i = 0; i < PLACES; i++)
		wrong += ((long (*)(void))(code + i * PLACE))() != expected;
	munmap(code, PAGE);
	return wrong;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_sigsys, .sa_flags = SA_RESTART};
	int times = argc > 1 ? atoi(argv[1]) : 1, wrong = 0;
	pid_t self = getpid();
	pthread_t sender;

	sigaction(SIGSYS, &action, NULL);
	if (pthread_create(&sender, NULL, send_all, &self)) return 1;
	for (int i = 0; i < times; i += PLACES)
		wrong += call_everywhere(self);
	done = 1;
	pthread_join(sender, NULL);
	printf("%d wrong, handled %d\n", wrong, handled > 0);
	return wrong != 0;
}
