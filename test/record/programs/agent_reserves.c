/* A program that reserves more address space than an agent takes, where all of it is free: the first place may be the agent's. */
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	static const uintptr_t places[] = {0x4d000000, 0x2000000000, 0x3000000000};
	long parent = getppid();
	char *got = MAP_FAILED;

	for (int i = 0; i < 100; i++)
		if (syscall(SYS_getppid) != parent)
			return 1;
	for (int i = 0; i < 3 && got == MAP_FAILED; i++) {
		got = mmap((char *)places[i], 1 << 30, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
		if (got == MAP_FAILED && errno != EEXIST)
			return 2;
	}
	if (got == MAP_FAILED || mprotect(got, 4096, PROT_READ | PROT_WRITE) != 0)
		return 3;
	got[0] = 1;
	for (int i = 0; i < 100; i++)
		if (syscall(SYS_getppid) != parent)
			return 4;
	return munmap(got, 1 << 30) != 0;
}
