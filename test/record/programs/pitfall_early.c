/* Calls before the program's own start: in functions of .preinit_array and of constructors, and behind main. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void many(void)
{
	for (int i = 0; i < 100; i++)
		if (syscall(SYS_getppid) <= 0)
			_exit(1);
}

__attribute__((section(".preinit_array"), used)) static void (*const before)(void) = many;

__attribute__((constructor)) static void first(void)
{
	many();
}

__attribute__((destructor)) static void last(void)
{
	many();
}

int main(void)
{
	many();
	return 0;
}
