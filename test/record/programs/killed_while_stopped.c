/* Children that wait, are stopped, and are killed before they go on. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int ends[2];

static void wait_in(int way) {
	char byte;
	switch (way) {
	case 0: _exit(read(ends[0], &byte, 1) != 0);
	case 1: _exit(usleep(20000000) != 0);
	case 2: _exit(poll(NULL, 0, 20000) != 0);
	default: _exit(pause() != 0);
	}
}

int main(void) {
	if (pipe(ends) != 0)
		return 1;
	for (int way = 0; way < 4; way++) {
		pid_t child = fork();
		/* In a group of its own, which has a parent outside of it: SIGTSTP stops no orphaned one. */
		setpgid(child, child);
		if (child == 0)
			wait_in(way);
		int status;
		usleep(50000);
		kill(child, way & 1 ? SIGTSTP : SIGSTOP);
		if (waitpid(child, &status, WUNTRACED) != child || !WIFSTOPPED(status))
			return 1;
		kill(child, SIGKILL);
		if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
			return 1;
		puts("killed");
	}
	return 0;
}
