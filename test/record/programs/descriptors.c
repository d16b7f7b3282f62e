/* Passes one file on in every way, and writes to each descriptor what it is. In the directory argv[1]. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(int fd, const char *what) {
	if (write(fd, what, strlen(what)) < 0)
		perror(what);
}

static int passed(int fd) {
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		exit(90);
	char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec vector = {&byte, 1};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	*header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	if (sendmsg(pair[0], &message, 0) != 1)
		exit(91);
	memset(control, 0, sizeof control);
	if (recvmsg(pair[1], &message, 0) != 1)
		exit(92);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	close(pair[0]);
	close(pair[1]);
	return fd;
}

static void *in_thread(void *fd) {
	/* Has a table of its own after this; the other thread keeps its descriptor. */
	close_range((unsigned)(long)fd, (unsigned)(long)fd, CLOSE_RANGE_UNSHARE);
	return NULL;
}

int main(int argc, char **argv) {
	if (argc == 3) {
		/* After exec: 20 was kept, 21 was closed. */
		say(20, "exec");
		exit(write(21, "x", 1) < 0 ? 0 : 93);
	}
	if (argc != 2 || chdir(argv[1]) != 0)
		return 94;
	int one = open("one", O_RDWR | O_CREAT, 0600), two = open("two", O_RDWR | O_CREAT, 0600);
	say(one, "open");
	say(dup(one), "dup");
	say(dup2(one, 10), "dup2");
	say(dup3(one, 11, O_CLOEXEC), "dup3");
	say(fcntl(one, F_DUPFD, 12), "dupfd");
	say(fcntl(one, F_DUPFD_CLOEXEC, 13), "dupfd_cloexec");
	/* The same number, another file. */
	dup2(two, 10);
	say(10, "replaced");
	close(11);
	say(fcntl(two, F_DUPFD, 11), "reused");
	pid_t child = fork();
	if (child == 0) {
		say(one, "fork");
		close(one);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	say(one, "after fork");
	say(passed(one), "passed");
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	say((int)syscall(SYS_pidfd_getfd, pidfd, one, 0), "pidfd_getfd");
	close(pidfd);
	pthread_t thread;
	pthread_create(&thread, NULL, in_thread, (void *)(long)one);
	pthread_join(thread, NULL);
	say(one, "after unshare");
	dup2(one, 20);
	fcntl(dup2(one, 21), F_SETFD, FD_CLOEXEC);
	close_range(30, ~0u, 0);
	close_range(3, 19, 0);
	execl("/proc/self/exe", "descriptors", argv[1], "again", NULL);
	return 95;
}
