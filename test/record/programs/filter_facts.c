/* Prints everything that the kernel says of filters of its own calls, at each step that changes it, and whether the agent's place is
 * mapped. The output is the same with and without a recorder. With an argument it gives up all privileges first. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void lines(const char *path, int piece)
{
	char text[8192];
	size_t at = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY);

	while ((got = piece ? read(fd, text + at, piece) : pread(fd, text + at, sizeof text - 1 - at, at)) > 0)
		at += got;
	text[at] = 0;
	close(fd);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (!strncmp(line, "Seccomp", 7) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "Threads", 7))
			printf(" %s", line);
	printf("\n");
}

static void facts(const char *when)
{
	char path[64];
	unsigned char vec[1] = {0};

	printf("%s: mode %d, gains nothing %d, odd %d, place %d\n", when, prctl(PR_GET_SECCOMP),
	       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0),
	       mincore((void *)0x70000000, 4096, vec) == 0 ? 0 : errno);
	lines("/proc/self/status", 4096);
	lines("/proc/self/status", 7);
	lines("/proc/thread-self/status", 0);
	fflush(stdout);
	if (fork() == 0) {
		sprintf(path, "/proc/%d/status", getppid());
		lines(path, 8000);
		lines("/proc/self/status", 8000);
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

static void *in_thread(void *unused)
{
	facts("thread");
	return unused;
}

static int filter(void)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {1, code};
	int by_call = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : errno;
	int by_prctl = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : errno;

	return by_call * 1000 + by_prctl;
}

int main(int count, char **words)
{
	pthread_t thread;

	(void)words;
	setvbuf(stdout, NULL, _IOFBF, 1 << 20);
	if (count > 1 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		return 1;
	/* A program that other users may not look into has its files in /proc owned by root. */
	prctl(PR_SET_DUMPABLE, 1);
	for (int i = 0; i < 100; i++)
		getppid();
	facts("at first");
	printf("without privileges: %d\n", filter());
	facts("then");
	printf("%d\n", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	facts("no privileges");
	printf("filters: %d\n", filter());
	facts("filtered");
	fflush(stdout);
	pthread_create(&thread, NULL, in_thread, NULL);
	pthread_join(thread, NULL);
	fflush(stdout);
	execl("/bin/grep", "grep", "-E", "Seccomp|NoNewPrivs", "/proc/self/status", NULL);
	return 2;
}
