/*
 * `sent_sigsys N`: a child sends SIGSYS to this thread all the time, which handles it and makes N calls at a place that nobody changes. Each
 * has to have its result.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, SHAPES = 30, GAP = 200 };

/* mov $SYS_getpid, %eax; syscall; ret */
static const unsigned char CODE[] = {0xb8, SYS_getpid, 0, 0, 0, 0x0f, 0x05, 0xc3};

static volatile sig_atomic_t handled;

static void on_sigsys(int number) { handled += number == SIGSYS; }

static void send_all(pid_t pid)
{
	for (int i = 0; syscall(SYS_tgkill, pid, pid, SIGSYS) == 0; i++) {
		for (volatile int k = 0; k < i % SHAPES * GAP; k++) {
		}
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_sigsys, .sa_flags = SA_RESTART};
	int times = argc > 1 ? atoi(argv[1]) : 1, wrong = 0;
	pid_t self = getpid();
	char *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED) return 1;
	memcpy(code, CODE, sizeof CODE);
	sigaction(SIGSYS, &action, NULL);
	pid_t child = fork();
	if (child == 0) send_all(self);
	for (int i = 0; i < times; i++)
		wrong += ((long (*)(void))code)() != self;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	printf("%d wrong, handled %d\n", wrong, handled > 0);
	return wrong != 0;
}
