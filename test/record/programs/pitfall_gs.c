/* A program that uses %gs for itself, before it makes many calls and after. */
#include <asm/prctl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t own[2][8] = {{11, 22}, {33, 44}};
static long bad;

static uint64_t second(void)
{
	uint64_t value;
	__asm__ volatile("mov %%gs:8, %0" : "=r"(value));
	return value;
}

static void *uses(void *which)
{
	uint64_t *mine = own[(intptr_t)which];
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 100; i++)
			if (syscall(SYS_getppid) <= 0)
				bad++;
		if (syscall(SYS_arch_prctl, ARCH_SET_GS, mine) != 0)
			bad++;
		for (int i = 0; i < 300; i++)
			if (syscall(SYS_getppid) <= 0 || second() != mine[1])
				bad++;
		uint64_t base = 0;
		if (syscall(SYS_arch_prctl, ARCH_GET_GS, &base) != 0 || base != (uint64_t)mine)
			bad++;
	}
	return NULL;
}

int main(void)
{
	pthread_t thread;
	pid_t pid;

	if (pthread_create(&thread, NULL, uses, (void *)1) != 0)
		return 1;
	pthread_join(thread, NULL);
	uses((void *)0);
	/* A child has what its parent had. */
	pid = fork();
	if (pid == 0)
		_exit(second() == 22 && getppid() > 0 && second() == 22 ? 0 : 1);
	int status = -1;
	return bad != 0 || pid < 0 || waitpid(pid, &status, 0) != pid || status != 0;
}
