/* A program that unmaps, protects and replaces the pages at which an agent may be, and goes on. */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	char *place = (char *)0x70000000;
	long parent = getppid();

	for (int i = 0; i < 100; i++)
		if (syscall(SYS_getppid) != parent)
			return 1;
	mprotect(place, 65536, PROT_NONE);
	for (int i = 0; i < 100; i++)
		if (syscall(SYS_getppid) != parent)
			return 2;
	if (mmap(place, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != place)
		return 3;
	munmap(place, 4 << 20);
	for (int i = 0; i < 100; i++)
		if (syscall(SYS_getppid) != parent)
			return 4;
	return place != NULL && mmap(place, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != place ? 5 : 0;
}
