/* A child comes to a new place that makes a call all the time, forks and executes, while its parent stops it and lets it go on: each stop
 * is told of, and each time it goes on. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) ((what) ? (void)0 : (fprintf(stderr, "line %d: %s (%d)\n", __LINE__, #what, errno), exit(1)))
#define PLACES 1500

/* Each of them makes getppid in a place of its own. */
__asm__(".text\n.globl places\n.p2align 4\nplaces:\n"
	".rept 1500\nmov $110, %eax\nsyscall\nnop\nnop\nnop\nnop\nret\n.p2align 4\n.endr\n");
extern char places[];

static long call(int place)
{
	long result;
	__asm__ volatile("call *%1" : "=a"(result) : "r"(places + 16 * place) : "rcx", "r11", "memory");
	return result;
}

static void child(void)
{
	for (int round = 0;; round++) {
		pid_t other = fork();
		CHECK(other >= 0);
		if (other == 0) {
			for (int k = 0; k < PLACES; k++)
				if (call(k) <= 0)
					_exit(1);
			_exit(0);
		}
		int status;
		while (waitpid(other, &status, 0) < 0)
			CHECK(errno == EINTR);
		CHECK(status == 0);
		for (int k = 0; k < PLACES; k += 50)
			CHECK(call((k + round) % PLACES) > 0);
	}
}

int main(int count, char **words)
{
	int turns = count > 1 ? atoi(words[1]) : 100, status;
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		child();
	for (int k = 0; k < turns; k++) {
		usleep(k % 7 * 150);
		CHECK(kill(pid, SIGSTOP) == 0);
		CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
		CHECK(kill(pid, SIGCONT) == 0);
		CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
	}
	CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	return 0;
}
