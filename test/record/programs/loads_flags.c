/*
 * Signals come where the next instruction loads the flags: behind a call that is made again after the handler (`loads_flags calls`), or in
 * a loop that makes none (`loads_flags loop`). Whoever steps the program into its handler must not leave the trap flag there.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 20, HANDLED = 200, CALLS = 100, PAUSE_US = 2000 };

static volatile sig_atomic_t handled;

static void on_signal(int number)
{
	(void)number;
	handled++;
}

/* Reads a byte; the red zone is left alone. */
static long read_and_load_flags(int fd, char *byte)
{
	long result;

	__asm__ volatile("sub $128, %%rsp\n\tpushfq\n\tsyscall\n\tpopfq\n\tadd $128, %%rsp"
			 : "=a"(result)
			 : "a"(SYS_read), "D"(fd), "S"(byte), "d"(1)
			 : "rcx", "r11", "memory", "cc");
	return result;
}

static int reads_through_signals(void)
{
	pid_t self = getpid();
	int pipes[2], status = 1;

	if (pipe(pipes)) return 0;
	for (int i = 0; i < ROUNDS; i++) {
		char byte = 0;
		pid_t child = fork();

		if (child == 0) {
			usleep(PAUSE_US);
			kill(self, SIGUSR1);
			usleep(PAUSE_US);
			_exit(write(pipes[1], "x", 1) != 1);
		}
		if (read_and_load_flags(pipes[0], &byte) != 1 || byte != 'x') return 0;
		if (waitpid(child, &status, 0) != child || status) return 0;
	}
	return 1;
}

static void load_flags_through_signals(void)
{
	struct itimerval timer = {{0, PAUSE_US / 4}, {0, PAUSE_US / 4}};
	int end = handled + HANDLED;

	setitimer(ITIMER_REAL, &timer, NULL);
	while (handled < end)
		__asm__ volatile("sub $128, %%rsp\n\tpushfq\n\tpopfq\n\tadd $128, %%rsp" ::: "memory", "cc");
	memset(&timer, 0, sizeof timer);
	setitimer(ITIMER_REAL, &timer, NULL);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	for (int i = 0; i < CALLS; i++)
		getppid();
	if (argc > 1 && strcmp(argv[1], "loop") == 0)
		load_flags_through_signals();
	else if (!reads_through_signals())
		return 1;
	return 0;
}
