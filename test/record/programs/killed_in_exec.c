/* Children that are killed as they begin another program. */
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>

extern char **environ;

int main(void) {
	char *words[] = {"sleep", "20", NULL};
	for (int k = 0; k < 40; k++) {
		pid_t child;
		int status;
		if (posix_spawn(&child, "/bin/sleep", NULL, NULL, words, environ) != 0)
			return 1;
		kill(child, SIGKILL);
		if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
			return 1;
	}
	puts("killed");
	return 0;
}
