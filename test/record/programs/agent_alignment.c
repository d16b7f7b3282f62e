/* Calls that are made while words have to be at multiples of their size (the flag AC), with pointers that are not. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library does not keep to that itself, so the flag is set for the call alone. Whether it was still there afterwards. */
static int aligned_call(long number, long first, long second, long third, long fourth, long *result)
{
	unsigned long flags;
	register long r10 __asm__("r10") = fourth;

	__asm__ volatile("sub $128, %%rsp; pushfq; orq $0x40000, (%%rsp); popfq\n\t"
			 "syscall\n\t"
			 "pushfq; pop %1; pushfq; andq $~0x40000, (%%rsp); popfq; add $128, %%rsp"
			 : "=a"(*result), "=&r"(flags)
			 : "0"(number), "D"(first), "S"(second), "d"(third), "r"(r10)
			 : "rcx", "r11", "memory");
	return flags >> 18 & 1;
}

int main(void)
{
	static const char file[] = "/dev/zero", none[] = "/dev/no such file";
	static char text[2][64];
	char bytes[16];
	long fd, result;

	for (int turn = 0; turn < 400; turn++) {
		char *path = strcpy(text[0] + turn % 8, file), *missing = strcpy(text[1] + turn % 8, none);
		int kept = aligned_call(SYS_openat, AT_FDCWD, (long)path, O_RDONLY, 0, &fd);

		memset(bytes, 1, sizeof(bytes));
		kept += aligned_call(SYS_read, fd, (long)(bytes + turn % 8), 7, 0, &result);
		if (fd < 0 || result != 7 || memchr(bytes + turn % 8, 1, 7))
			return printf("%d: opened %ld, read %ld\n", turn, fd, result), 1;
		kept += aligned_call(SYS_openat, AT_FDCWD, (long)missing, O_RDONLY, 0, &result);
		if (result != -2 || kept != 3)
			return printf("%d: result %ld, %d times\n", turn, result, kept), 1;
		close(fd);
	}
	return 0;
}
