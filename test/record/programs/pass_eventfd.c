/* Runs its arguments with an event descriptor at 11 and an epoll descriptor at 12, as its child. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
	(void)argc;
	dup2(eventfd(0, EFD_CLOEXEC), 11);
	dup2(epoll_create1(EPOLL_CLOEXEC), 12);
	if (fork() == 0) {
		execvp(argv[1], argv + 1);
		_exit(99);
	}
	int status;
	wait(&status);
	return WEXITSTATUS(status);
}
