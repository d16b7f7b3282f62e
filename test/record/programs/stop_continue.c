/*
 * `stop_continue N` stops a child that makes calls all the time, at a place that nobody changes, and continues it at once, N times. After
 * each the child has to go on.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, AT_ONCE = 20, SHAPES = 40, GAP = 300, PATIENCE_MS = 3000 };

/* mov $SYS_getppid, %eax; syscall; ret */
static const unsigned char CODE[] = {0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3};

static void answer_all(int questions, int answers)
{
	char *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char byte;
	long got;

	if (code == MAP_FAILED) _exit(1);
	memcpy(code, CODE, sizeof CODE);
	do {
		for (int i = 0; i < AT_ONCE; i++)
			((long (*)(void))code)();
		got = read(questions, &byte, 1);
		if (got == 1 && write(answers, &byte, 1) != 1) _exit(1);
	} while (got != 0);
	_exit(0);
}

int main(int argc, char **argv)
{
	int times = argc > 1 ? atoi(argv[1]) : 1;
	int questions[2], answers[2], status = 1;

	if (pipe2(questions, O_NONBLOCK) || pipe(answers)) return 1;
	pid_t child = fork();
	if (child == 0) {
		close(questions[1]);
		answer_all(questions[0], answers[1]);
	}
	for (int i = 0; i < times; i++) {
		struct pollfd ready = {answers[0], POLLIN, 0};
		char byte = 0;

		kill(child, SIGSTOP);
		for (volatile int k = 0; k < i % SHAPES * GAP; k++) {
		}
		kill(child, SIGCONT);
		if (write(questions[1], &byte, 1) != 1 || poll(&ready, 1, PATIENCE_MS) != 1) {
			printf("stopped for good after %d times\n", i + 1);
			kill(child, SIGKILL);
			return 1;
		}
		if (read(answers[0], &byte, 1) != 1) return 1;
	}
	close(questions[1]);
	return waitpid(child, &status, 0) != child || status != 0;
}
