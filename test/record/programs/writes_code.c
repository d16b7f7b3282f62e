/* A thread that writes code and computes in it, with no call in between, while another one wants its turn. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROUNDS = 6, APART = 256, TURNS = 50000000 };

static volatile int is_over;

static void *calls(void *unused)
{
	while (!is_over)
		usleep(1000);
	return unused;
}

typedef uint32_t function(uint32_t);

/* xor eax, eax; again: add eax, value; imul eax, eax, 31; dec edi; jnz again; ret */
static void emit(unsigned char *code, uint32_t value)
{
	memcpy(code, "\x31\xc0\x05", 3);
	memcpy(code + 3, &value, 4);
	memcpy(code + 7, "\x6b\xc0\x1f\xff\xcf\x75\xf4\xc3", 8);
}

int main(void)
{
	unsigned char *code = mmap(NULL, ROUNDS * APART, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t other;
	uint32_t sum = 0;

	if (code == MAP_FAILED || pthread_create(&other, NULL, calls, NULL) != 0)
		return 1;
	for (int i = 0; i < ROUNDS; i++) {
		emit(code + i * APART, getppid() + i);
		sum += ((function *)(code + i * APART))(TURNS);
	}
	is_over = 1;
	pthread_join(other, NULL);
	printf("%u\n", sum);
	return 0;
}
