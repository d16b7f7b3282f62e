/* Built with LeakSanitizer, which stops all threads at the end and looks for what nothing points to. Memory that only a register of a
 * thread points to is not lost: one waits in a call, one makes calls, one waits for a lock. What `lost` says is lost, in so many pieces. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int there;

/* A pointer that is nowhere else: what malloc(3) has left on the stack is written over. */
__attribute__((noinline)) static unsigned long hidden(size_t size)
{
	return ~(unsigned long)malloc(size);
}

__attribute__((noinline)) static void cover(void)
{
	char volatile much[16384];
	memset((void *)much, 0, sizeof(much));
}

static void *waits(void *unused)
{
	unsigned long not = hidden(1001);
	cover();
	asm volatile("mov %0, %%r12\n not %%r12\n incl %1\n mov %2, %%eax\n syscall\n" ::"r"(not), "m"(there), "i"(SYS_pause)
	             : "rax", "rcx", "r11", "r12", "memory");
	return unused;
}

static void *calls(void *unused)
{
	unsigned long not = hidden(1002);
	cover();
	asm volatile("mov %0, %%r13\n not %%r13\n incl %1\n1: mov %2, %%eax\n syscall\n jmp 1b\n" ::"r"(not), "m"(there), "i"(SYS_getppid)
	             : "rax", "rcx", "r11", "r13", "memory");
	return unused;
}

static void *locks(void *unused)
{
	char *own = malloc(1003);
	there++;
	pthread_mutex_lock(&lock);
	free(own);
	return unused;
}

int main(int count, char **words)
{
	void *(*const all[])(void *) = {waits, calls, locks};
	pthread_t thread;
	int lost = count > 1 ? atoi(words[1]) : 0;
	pthread_mutex_lock(&lock);
	for (int k = 0; k < 3; k++) {
		pthread_create(&thread, NULL, all[k], NULL);
		while (there <= k)
			usleep(1000);
	}
	for (int k = 0; k < lost; k++)
		printf("%d\n", malloc(2000 + k) != NULL);
	cover();
	usleep(20000);
	puts("end");
	return 0;
}
