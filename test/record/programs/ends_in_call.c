/* A child that a signal ends while it waits in calls that the kernel would begin again, had it been another signal. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Whether the process sleeps in a call, proc_pid_stat(5). */
static int sleeps(int stat) {
	char text[512] = "";
	if (pread(stat, text, sizeof text - 1, 0) < 0)
		_exit(92);
	char *state = strrchr(text, ')');
	return state != NULL && state[1] == ' ' && state[2] == 'S';
}

static void wait_in(int which, int never) {
	char byte;
	struct timespec long_time = {.tv_sec = 100};
	switch (which) {
	case 0:
		nanosleep(&long_time, NULL);
		break;
	case 1:
		poll(NULL, 0, 100000);
		break;
	default:
		if (read(never, &byte, 1) != 0)
			_exit(93);
	}
}

int main(void) {
	for (int which = 0; which < 3; which++) {
		int never[2], status;
		char name[64];
		if (pipe(never) != 0)
			return 91;
		pid_t child = fork();
		if (child == 0) {
			wait_in(which, never[0]);
			_exit(94);
		}
		snprintf(name, sizeof name, "/proc/%d/stat", child);
		int stat = open(name, O_RDONLY);
		while (!sleeps(stat))
			usleep(1000);
		kill(child, SIGTERM);
		if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
			return 95;
	}
	return 0;
}
