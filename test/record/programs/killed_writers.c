/* Children that are killed, by one call or another, as soon as their memory says that they are about to write a line. */

#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 60 };

int main(void)
{
	volatile int *begun = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < CHILDREN; i++) {
		char line[40];
		int length = snprintf(line, sizeof line, "child %d\n", i);

		*begun = 0;
		pid_t pid = fork();
		if (pid == 0) {
			/* Long enough for the parent to wait for its turn. */
			for (volatile int turn = 0; turn < 3000000; turn++)
				;
			*begun = 1;
			if (write(1, line, length) != length)
				return 1;
			for (;;)
				pause();
		}
		while (!*begun)
			usleep(300);
		if (i % 2 == 0) {
			kill(pid, SIGKILL);
		} else {
			int handle = syscall(SYS_pidfd_open, pid, 0);
			if (handle < 0 || syscall(SYS_pidfd_send_signal, handle, SIGKILL, NULL, 0) != 0)
				return 1;
			close(handle);
		}
		if (waitpid(pid, NULL, 0) != pid)
			return 1;
	}
	return 0;
}
