/* Writes to a file through memory, which changes no time of it, while others map it anew: each prints what it sees. By its times the file
 * was changed long ago, so they are no reason to look at it again. With an argument the others map it privately. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 1 << 20, ROUNDS = 8 };

static int how = MAP_SHARED;

static void look(const char *who, int fd)
{
	volatile int *seen = mmap(NULL, SIZE, PROT_READ, how, fd, 0);

	if (seen == MAP_FAILED)
		exit(1);
	printf("%s sees %d\n", who, *seen);
	munmap((void *)seen, SIZE);
}

static void look_from_child(int fd)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		look("child", fd);
		exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		exit(1);
}

int main(int argc, char **argv)
{
	const struct timespec long_ago[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	int fd = memfd_create("written", MFD_CLOEXEC), reading;
	char path[64];
	volatile int *shared;

	(void)argv;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		how = MAP_PRIVATE;
	if (fd < 0 || ftruncate(fd, SIZE) != 0)
		return 1;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	reading = open(path, O_RDONLY | O_CLOEXEC);
	shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		return 1;
	/* The first write to a page changes the time. */
	*shared = 0;
	if (futimens(fd, long_ago) != 0)
		return 1;
	look("first", reading);
	look_from_child(reading);
	for (int round = 1; round <= ROUNDS; round++) {
		*shared = round;
		look_from_child(reading);
		*shared = -round;
		look("self", reading);
		printf("written %d\n", *shared);
	}
	return 0;
}
