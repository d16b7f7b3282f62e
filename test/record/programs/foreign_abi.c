/* Calls of other ABIs in a 64-bit program: i386 by int 0x80, x32, and a number that nobody has. */
#include <stdio.h>

static long call32(long number) {
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number) : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

static long call64(long number) {
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(1), "S"(2), "d"(3) : "rcx", "r11", "memory");
	return result;
}

int main(void) {
	/* 20 is getpid for i386 and writev for x86-64. */
	printf("%s\n", call32(20) > 0 ? "i386 works" : "i386 is missing");
	printf("x32 %ld\n", call64(0x40000000 + 39) > 0 ? 1L : 0L);
	printf("unknown %ld\n", call64(9999));
	return 0;
}
