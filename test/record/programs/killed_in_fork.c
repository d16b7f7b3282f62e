/* Groups of processes that fork all the time, and are killed all at once. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
	for (int k = 0; k < 60; k++) {
		int status;
		pid_t leader = fork();
		if (leader == 0) {
			setpgid(0, 0);
			for (;;) {
				pid_t child = fork();
				if (child == 0)
					pause();
				usleep(200);
			}
		}
		setpgid(leader, leader);
		usleep(2000 + 37 * k);
		kill(-leader, SIGKILL);
		if (waitpid(leader, &status, 0) != leader || !WIFSIGNALED(status))
			return 1;
	}
	puts("killed");
	return 0;
}
