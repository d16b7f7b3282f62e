/* Threads that wait in a call while others make the same call from the same place, often. */
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

enum { WAITING = 8, ROUNDS = 20 };

long read_here(int fd, void *to, size_t size);

__asm__(
	".text\n"
	".globl read_here\n"
	"read_here:\n"
	"xor %eax, %eax\n"
	"syscall\n"
	"mov %rax, %rdx\n"
	"lea 1(%rdx), %rax\n"
	"dec %rax\n"
	"ret\n");

static int pipes[WAITING][2], zero[2];
static long bad;

static void *waits(void *number)
{
	intptr_t which = (intptr_t)number;
	for (int i = 0; i < ROUNDS; i++) {
		char bytes[16] = "";
		if (read_here(pipes[which][0], bytes, 16) != 3 || bytes[0] != 'a' + which || bytes[1] != 'a' + i || bytes[3] != 0)
			__atomic_add_fetch(&bad, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[WAITING];

	if (pipe(zero) != 0)
		return 1;
	for (intptr_t i = 0; i < WAITING; i++)
		if (pipe(pipes[i]) != 0 || pthread_create(&threads[i], NULL, waits, (void *)i) != 0)
			return 1;
	usleep(20000);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < 30; i++) {
			char byte = 0;
			if (write(zero[1], "x", 1) != 1 || read_here(zero[0], &byte, 1) != 1 || byte != 'x')
				return puts("own"), 1;
		}
		for (int i = 0; i < WAITING; i++)
			if (write(pipes[i][1], (char[]){'a' + i, 'a' + round, '.'}, 3) != 3)
				return 1;
		/* Each of them has read before the next is written. */
		for (int i = 0; i < WAITING; i++) {
			struct pollfd full = {.fd = pipes[i][0], .events = POLLIN};
			while (poll(&full, 1, 0) == 1)
				usleep(100);
		}
		if (__atomic_load_n(&bad, __ATOMIC_SEQ_CST) != 0)
			return puts("theirs"), 1;
	}
	for (int i = 0; i < WAITING; i++)
		pthread_join(threads[i], NULL);
	return bad != 0;
}
