/*
 * Loads and unloads a library whose functions make calls, mostly at the same place; halfway it is replaced by another one of the same
 * name and size. Prints what its functions say. As a library (-shared) it is what is loaded: VALUE tells which.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef VALUE
/* A call from the library itself, and not from libc. */
long calls(int times)
{
	long result = 0;

	for (int i = 0; i < times; i++) {
		long raw = SYS_getppid;

		__asm__ volatile("syscall" : "+a"(raw) : : "rcx", "r11", "memory");
		result += raw == getppid() ? VALUE : 0;
	}
	return result;
}
#else
enum { ROUNDS = 12, TIMES = 20 };

int main(int argc, char **argv)
{
	for (int round = 0; round < ROUNDS; round++) {
		void *library;
		long (*calls)(int);

		if (round == ROUNDS / 2 && argc > 2 && rename(argv[2], argv[1]) != 0)
			return 2;
		library = dlopen(argv[1], RTLD_NOW);
		if (!library)
			return 3;
		calls = (long (*)(int))dlsym(library, "calls");
		printf("%ld\n", calls ? calls(TIMES) : -1);
		if (dlclose(library) != 0)
			return 4;
	}
	return 0;
}
#endif
