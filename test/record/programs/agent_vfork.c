/* Calls of children that share memory with a parent who waits, and calls whose command says what is behind their pointer. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define CHECK(what) ((what) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #what), exit(1)))

extern char **environ;

int main(int argc, char **argv)
{
	if (argc > 1)
		return 7;
	int status;
	for (int i = 0; i < 30; i++) {
		/* posix_spawn has its child ask and set many things before it executes a program. */
		pid_t pid;
		posix_spawnattr_t attributes;
		sigset_t all;
		sigfillset(&all);
		sigdelset(&all, SIGKILL);
		sigdelset(&all, SIGSTOP);
		posix_spawnattr_init(&attributes);
		posix_spawnattr_setsigdefault(&attributes, &all);
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
		CHECK(posix_spawn(&pid, argv[0], 0, &attributes, (char *[]){argv[0], "child", 0}, environ) == 0);
		CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7);
		/* One that only ends, and one whose program there is not. */
		volatile int told = 0;
		pid = vfork();
		if (pid == 0) {
			told = getppid();
			_exit(i);
		}
		CHECK(told == getpid() && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == i);
		CHECK(posix_spawn(&pid, "/nonexistent", 0, 0, argv, environ) == ENOENT);
	}
	char path[] = "/tmp/agent_vfork_XXXXXX";
	int fd = mkstemp(path);
	CHECK(fd >= 0 && unlink(path) == 0 && write(fd, "12345", 5) == 5);
	for (int i = 0; i < 500; i++) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i, .l_len = 1};
		CHECK(fcntl(fd, F_SETLK, &lock) == 0);
		lock.l_type = F_RDLCK;
		CHECK(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK);
		CHECK(fcntl(fd, F_SETLK, (void *)8) == -1 && errno == EFAULT);
		struct termios terminal;
		CHECK(ioctl(fd, TCGETS, &terminal) == -1 && errno == ENOTTY);
		int left = -1;
		CHECK(lseek(fd, i % 5, SEEK_SET) == i % 5 && ioctl(fd, FIONREAD, &left) == 0 && left == 5 - i % 5);
		CHECK(ioctl(fd, FIOCLEX) == 0 && ioctl(fd, FIONCLEX) == 0);
		CHECK(ioctl(fd, FIONREAD, (void *)8) == -1 && errno == EFAULT);
	}
	return 0;
}
