/*
 * Handlers on a signal stack that is no larger than the kernel demands for the frame and a few hundred bytes, with a page behind
 * it that nobody may touch; and threads whose stacks are as small as they may be.
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SIGNALS = 300, THREADS = 50 };

static volatile int handled;
static long bad;

static long raw(long number)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number) : "rcx", "r11", "memory");
	return result;
}

static void handler(int signal)
{
	(void)signal;
	for (int i = 0; i < 5; i++)
		handled += raw(SYS_getppid) > 0;
}

static void *small(void *unused)
{
	(void)unused;
	for (int i = 0; i < 50; i++) {
		int fd = open("/dev/null", O_RDONLY);
		if (fd < 0 || close(fd) != 0 || raw(SYS_getppid) <= 0)
			__atomic_add_fetch(&bad, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

int main(void)
{
	size_t least = getauxval(AT_MINSIGSTKSZ), room = (least + 512 + 4095) & ~4095UL;
	char *memory = mmap(NULL, 4096 + room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};

	if (memory == MAP_FAILED || least == 0 || mprotect(memory + 4096, room, PROT_READ | PROT_WRITE) != 0)
		return 1;
	stack_t stack = {.ss_sp = memory + 4096, .ss_size = least + 512};
	if (sigaltstack(&stack, NULL) != 0 || sigaction(SIGUSR1, &action, NULL) != 0)
		return perror("sigaltstack"), 1;
	for (int i = 0; i < SIGNALS; i++)
		if (raise(SIGUSR1) != 0)
			return 1;
	if (handled != 5 * SIGNALS)
		return puts("signals"), 1;
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;
		if (pthread_create(&thread, &attributes, small, NULL) != 0 || pthread_join(thread, NULL) != 0)
			return puts("threads"), 1;
	}
	return bad != 0;
}
