/* Code that is written while the program runs, called, changed in place and moved; first writable throughout, then not. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* mov eax, NUMBER; syscall; ret */
static const uint8_t code[] = {0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0xc3};

typedef long function(void);

static long call(uint8_t *at)
{
	function *made;
	memcpy(&made, &at, sizeof(made));
	return made();
}

static void set(uint8_t *at, uint32_t number)
{
	memcpy(at, code, sizeof(code));
	memcpy(at + 1, &number, 4);
}

int main(void)
{
	long self = getpid(), parent = getppid();
	uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return 1;
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 60; i++) {
			set(page + 16 * i, i % 2 ? SYS_getpid : SYS_getppid);
			for (int k = 0; k < 3; k++)
				if (call(page + 16 * i) != (i % 2 ? self : parent))
					return puts("writable"), 1;
		}
		/* The same place, another call; and what is there is what was written. */
		set(page, SYS_getpid);
		uint8_t expected[sizeof(code)];
		memcpy(expected, page, sizeof(code));
		if (call(page) != self || memcmp(page, expected, sizeof(code)) != 0)
			return puts("changed"), 1;
	}
	for (int round = 0; round < 50; round++) {
		uint8_t *other = page + 4096;
		if (mprotect(other, 4096, PROT_READ | PROT_WRITE) != 0)
			return puts("mprotect"), 1;
		for (int i = 0; i < 20; i++)
			set(other + 32 * i, round % 2 ? SYS_getpid : SYS_getppid);
		if (mprotect(other, 4096, PROT_READ | PROT_EXEC) != 0)
			return puts("mprotect"), 1;
		for (int k = 0; k < 100; k++)
			if (call(other + 32 * (k % 20)) != (round % 2 ? self : parent))
				return puts("protected"), 1;
	}
	return 0;
}
