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
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reads a piece of a file, in one of the ways there are to. */
static ssize_t some(int fd, char *text, size_t length, off_t at, int way)
{
	struct iovec pieces[] = {{text, 3}, {NULL, 0}, {text + 3, length - 3}};

	switch (way) {
	case 0:
		return read(fd, text, length);
	case 1:
		return pread(fd, text, length, at);
	case 2:
		return readv(fd, pieces, 3);
	case 3:
		return preadv(fd, pieces, 3, at);
	case 4:
		return preadv2(fd, pieces, 3, -1, RWF_HIPRI);
	default:
		return preadv2(fd, pieces, 3, at, 0);
	}
}

static void lines(const char *path, int piece, int way)
{
	char text[8192];
	size_t at = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY);

	while ((got = some(fd, text + at, piece ? piece : (int)(sizeof text - 1 - at), at, way)) > 0)
		at += got;
	text[at] = 0;
	close(fd);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (!strncmp(line, "Seccomp", 7) || !strncmp(line, "NoNewPrivs", 10) || !strncmp(line, "Threads", 7))
			printf(" %s", line);
	printf("\n");
}

/* What cannot be read has its own error, and is what the position says afterwards. */
static void mistakes(const char *path)
{
	static char text[64];
	struct iovec half[] = {{text, 7}, {(void *)8, 9}}, far[] = {{text, 7}, {(void *)(1ull << 63), 9}}, long_one[] = {{text, -1}};
	struct iovec *volatile nowhere = NULL;
	volatile int odd = -1;
	int fd = open(path, O_RDONLY), ends[2], made = memfd_create("copy", 0);

	if (fd < 0 || made < 0 || pipe(ends))
		_exit(3);
#define TRY(call) printf(" %ld", (long)((call) < 0 ? -errno : lseek(fd, 0, SEEK_CUR)))
	TRY(readv(fd, half, 2));
	TRY(readv(fd, half + 1, 1));
	TRY(readv(fd, far, 2));
	TRY(readv(fd, long_one, 1));
	TRY(readv(fd, half, odd));
	TRY(readv(fd, half, 0));
	TRY(readv(fd, nowhere, 2));
	TRY(preadv(fd, half, 2, -5));
	TRY(preadv2(fd, half, 1, -1, RWF_NOWAIT));
	TRY(preadv(fd, half, 2, 5));
	TRY(sendfile(made, fd, NULL, 100));
	TRY(splice(fd, NULL, ends[1], NULL, 100, 0));
	TRY(copy_file_range(fd, NULL, made, NULL, 100, 0));
	printf("\n");
	close(fd), close(made), close(ends[0]), close(ends[1]);
}

static void facts(const char *when)
{
	char path[64];
	unsigned char vec[1] = {0};

	printf("%s: mode %d, gains nothing %d, odd %d, place %d\n", when, prctl(PR_GET_SECCOMP),
	       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0),
	       mincore((void *)0x70000000, 4096, vec) == 0 ? 0 : errno);
	lines("/proc/self/status", 4096, 0);
	lines("/proc/self/status", 7, 0);
	lines("/proc/thread-self/status", 0, 1);
	for (int way = 2; way < 6; way++)
		lines("/proc/self/status", 100, way);
	mistakes("/proc/self/status");
	fflush(stdout);
	if (fork() == 0) {
		sprintf(path, "/proc/%d/status", getppid());
		lines(path, 8000, 0);
		lines("/proc/self/status", 8000, 0);
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

/* Puts a filter on all threads. */
static int filter_all(void)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {1, code};

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0 ? 0 : errno;
}

static int filter(void)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {1, code};
	int by_call = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : errno;
	int by_prctl = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : errno;

	return by_call * 1000 + by_prctl;
}

static pthread_barrier_t turn;

/* A thread that was there before. */
static void *beside(void *unused)
{
	pthread_barrier_wait(&turn);
	facts("beside");
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	facts("synchronised");
	printf("filters: %d\n", filter());
	pthread_barrier_wait(&turn);
	pause();
	return unused;
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
	pthread_barrier_init(&turn, NULL, 2);
	pthread_create(&thread, NULL, beside, NULL);
	printf("%d\n", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	printf("all: %d\n", filter_all());
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
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
