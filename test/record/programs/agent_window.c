/*
 * Sites whose neighbours are jumped to, that are too near to the next function, or whose instructions before only look like
 * something; and calls on a stack of a few bytes.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

long jumped_into(long turns);
long short_one(void);
long after_short_one(long value);
long looks_like_a_number(long unused);
long reached_without_its_number(long number);
long on_stack(void *top);

__asm__(
	".text\n"
	/* The loop comes back right behind the call. */
	".globl jumped_into\n"
	"jumped_into:\n"
	"mov %rdi, %rdx; xor %esi, %esi\n"
	"xor %eax, %eax; or $110, %al\n"
	"syscall\n"
	"1: add %rax, %rsi\n"
	"dec %rdx\n"
	"mov $2, %eax\n"
	"jnz 1b\n"
	"mov %rsi, %rax\n"
	"ret\n"
	/* Nothing but a return before the next function. */
	".globl short_one, after_short_one\n"
	"short_one:\n"
	"xor %eax, %eax; or $110, %al\n"
	"syscall\n"
	"ret\n"
	"after_short_one: lea 1(%rdi), %rax\n"
	"ret\n"
	/* mov dword [rsp - 0x48], 110 ends like mov eax, 110. */
	".globl looks_like_a_number\n"
	"looks_like_a_number:\n"
	"xor %eax, %eax; or $110, %al\n"
	".byte 0xc7, 0x44, 0x24, 0xb8, 110, 0, 0, 0\n"
	"syscall\n"
	"movslq -0x48(%rsp), %rcx\n"
	"cmp $110, %rcx\n"
	"mov $-1, %rcx\n"
	"cmovne %rcx, %rax\n"
	"ret\n"
	/* The instruction before the call is jumped over. */
	".globl reached_without_its_number\n"
	"reached_without_its_number:\n"
	"mov %rdi, %rax\n"
	"jmp 2f\n"
	"mov $39, %eax\n"
	"2: syscall\n"
	"ret\n"
	".globl on_stack\n"
	"on_stack:\n"
	"mov %rsp, %rdx\n"
	"mov %rdi, %rsp\n"
	"mov $110, %eax\n"
	"syscall\n"
	"mov %rdx, %rsp\n"
	"ret\n");

int main(void)
{
	long parent = getppid(), own = getpid();
	uint64_t stack[64], untouched[64];

	for (int turn = 0; turn < 200; turn++) {
		memset(stack, 0x5a + turn, sizeof(stack));
		memcpy(untouched, stack, sizeof(stack));
		if (jumped_into(3) != parent + 4 || short_one() != parent || after_short_one(turn) != turn + 1)
			return puts("jumps"), 1;
		if (looks_like_a_number(0) != parent)
			return puts("number"), 1;
		if (reached_without_its_number(110) != parent || reached_without_its_number(39) != own)
			return puts("way"), 1;
		if (on_stack(&stack[32]) != parent || memcmp(stack, untouched, sizeof(stack)) != 0)
			return puts("stack"), 1;
	}
	return 0;
}
