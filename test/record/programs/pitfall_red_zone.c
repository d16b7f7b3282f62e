/* Values below the stack pointer, where a function that calls none may keep them, over calls and over signals. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

uint64_t below_the_stack(uint64_t value);

/* Fills the 128 bytes below rsp, makes a call, and adds them up. */
__asm__(
	".text\n"
	".globl below_the_stack\n"
	"below_the_stack:\n"
	"mov $-128, %rdx\n"
	"1: lea (%rdi, %rdx), %rax\n"
	"mov %rax, (%rsp, %rdx)\n"
	"add $8, %rdx\n"
	"jnz 1b\n"
	"mov $110, %eax\n"
	"syscall\n"
	"mov $-128, %rdx\n"
	"xor %eax, %eax\n"
	"2: add (%rsp, %rdx), %rax\n"
	"add $8, %rdx\n"
	"jnz 2b\n"
	"ret\n");

static volatile int alarms;

static void on_alarm(int signal)
{
	char page[512];
	memset(page, signal, sizeof(page));
	alarms += page[7] == SIGALRM && getppid() > 0;
}

int main(void)
{
	struct itimerval timer = {{0, 1000}, {0, 1000}};

	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (uint64_t i = 0; i < 5000 || alarms < 5; i++) {
		uint64_t sum = 0;
		for (int64_t offset = -128; offset < 0; offset += 8)
			sum += i * 7 + offset;
		if (below_the_stack(i * 7) != sum)
			return puts("red zone"), 1;
	}
	return 0;
}
