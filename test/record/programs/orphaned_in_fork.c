/* Processes that fork all the time and are killed, while what they have made lives on. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
	for (int k = 0; k < 60; k++) {
		int status;
		pid_t maker = fork();
		while (maker == 0) {
			if (fork() == 0) {
				usleep(3000);
				_exit(write(2, "", 0) != 0);
			}
			usleep(200);
		}
		usleep(2000 + 37 * k);
		kill(maker, SIGKILL);
		if (waitpid(maker, &status, 0) != maker || !WIFSIGNALED(status))
			return 1;
	}
	puts("killed");
	return 0;
}
