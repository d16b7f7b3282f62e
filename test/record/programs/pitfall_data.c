/* Code that holds the bytes of `syscall` where no call is: in immediates, in offsets, in tables between functions, in data. */
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t with_immediates(uint64_t turns);
extern const uint8_t table[16];

__asm__(
	".text\n"
	".globl with_immediates, table\n"
	"with_immediates:\n"
	"xor %eax, %eax\n"
	"1: push %rax\n"
	"mov $110, %eax\n"
	"push %rdi\n"
	"syscall\n"
	"pop %rdi\n"
	"pop %rax\n"
	"mov $0x050f050f, %ecx\n"
	"add %rcx, %rax\n"
	"movabs $0x050f050f050f050f, %rdx\n"
	"xor %rdx, %rax\n"
	"lea 0x50f(%rax), %rax\n"
	"testl $0x050f0000, table(%rip)\n"
	"dec %rdi\n"
	"jnz 1b\n"
	"ret\n"
	"table: .byte 0x0f, 0x05, 0x0f, 0x05, 0xb8, 0x6e, 0, 0, 0, 0x0f, 0x05, 0xc3, 0xcd, 0x80, 0x0f, 0x34\n");

static const uint8_t bytes[] = {0x0f, 0x05, 0x0f, 0x05, 0xb8, 0x6e, 0, 0, 0, 0x0f, 0x05, 0xc3, 0xcd, 0x80, 0x0f, 0x34};
static uint8_t written[4096];

int main(void)
{
	uint64_t turns = 1000, expected = 0;

	for (uint64_t i = 0; i < turns; i++)
		expected = ((expected + 0x050f050f) ^ 0x050f050f050f050f) + 0x50f;
	for (int round = 0; round < 3; round++) {
		if (with_immediates(turns) != expected)
			return puts("result"), 1;
		for (size_t i = 0; i < sizeof(written); i++)
			written[i] = bytes[i % sizeof(bytes)];
		for (int i = 0; i < 200; i++)
			if (syscall(SYS_getppid) <= 0)
				return puts("call"), 1;
		for (size_t i = 0; i < sizeof(written); i++)
			if (written[i] != table[i % sizeof(bytes)])
				return puts("table"), 1;
	}
	return 0;
}
