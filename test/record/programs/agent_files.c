/* Small files that are mapped for reading, and written to before, meanwhile and afterwards, by this process and by another. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) ((what) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #what), exit(1)))

enum { LENGTH = 6000, TURNS = 40 };

static void fill(int fd, char with)
{
	char bytes[LENGTH];
	memset(bytes, with, sizeof(bytes));
	CHECK(pwrite(fd, bytes, sizeof(bytes), 0) == LENGTH);
}

static volatile const char *map(const char *name)
{
	int fd = open(name, O_RDONLY);
	const char *at;

	CHECK(fd >= 0);
	at = mmap(NULL, LENGTH, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(at != MAP_FAILED && !close(fd));
	return at;
}

static int is(volatile const char *at, char with)
{
	return at[0] == with && at[LENGTH / 2] == with && at[LENGTH - 1] == with;
}

static void unmap(volatile const char *at)
{
	CHECK(!munmap((void *)at, LENGTH));
}

/* Prints what is there, so that it is compared in replay. */
static void tell(const char *what, volatile const char *at)
{
	printf("%s %c%c%c\n", what, at[0], at[LENGTH / 2], at[LENGTH - 1]);
}

static void turn(int number)
{
	char first = 'a' + number % 20, name[32];
	volatile const char *at, *again;
	int fd;

	snprintf(name, sizeof(name), "plain%d", number);
	fd = open(name, O_RDWR | O_CREAT, 0600);
	fill(fd, first);
	/* Mapped while it may be written to. */
	at = map(name);
	CHECK(is(at, first));
	fill(fd, first + 1);
	tell("written by who had it open", at);
	unmap(at);
	CHECK(!close(fd));
	/* Mapped, and opened for writing only then. */
	at = map(name);
	again = map(name);
	CHECK(is(at, first + 1) && is(again, first + 1));
	fd = open(name, O_WRONLY);
	fill(fd, first + 2);
	tell("written by who opened it later", at);
	unmap(again);
	unmap(at);
	CHECK(!close(fd) && !unlink(name));
}

static void with_child(void)
{
	volatile const char *before, *after;
	int fd = open("shared", O_RDWR | O_CREAT, 0600), pipes[2], status;
	char byte;

	fill(fd, 'x');
	before = map("shared");
	CHECK(is(before, 'x') && !pipe(pipes));
	if (!fork()) {
		fill(fd, 'y');
		CHECK(write(pipes[1], "+", 1) == 1);
		for (int i = 0; i < 30; i++)
			close(open("other", O_RDWR | O_CREAT, 0600));
		_exit(0);
	}
	CHECK(read(pipes[0], &byte, 1) == 1);
	after = map("shared");
	tell("written by the child", before);
	tell("mapped behind that", after);
	CHECK(wait(&status) > 0 && status == 0);
	unmap(before);
	unmap(after);
}

int main(void)
{
	char folder[] = "/tmp/trace-files-XXXXXX";

	CHECK(mkdtemp(folder) && !chdir(folder));
	/* A descriptor is known to the agent only some calls later. */
	for (int i = 0; i < TURNS; i++)
		turn(i);
	/* Files that nobody in this program has ever opened for writing. One of them may be taken for one that was: the set of those says
	 * of some hundredth of all files that they are in it. */
	static const char *const others[] = {"/usr/include/errno.h", "/usr/include/fcntl.h", "/usr/include/signal.h", "/usr/include/stdio.h",
	                                     "/usr/include/stdlib.h", "/usr/include/string.h", "/usr/include/time.h", "/usr/include/unistd.h"};
	for (int i = 0; i < TURNS; i++) {
		int fd = open(others[i % (sizeof(others) / sizeof(*others))], O_RDONLY);
		char start[8];
		const char *at = mmap(NULL, 32 << 10, PROT_READ, MAP_PRIVATE, fd, 0);
		CHECK(at != MAP_FAILED && read(fd, start, sizeof(start)) == sizeof(start) && !memcmp(at, start, sizeof(start)));
		CHECK(!munmap((void *)at, 32 << 10) && !close(fd));
	}
	with_child();
	CHECK(!unlink("shared") && !unlink("other") && !chdir("/") && !rmdir(folder));
	return 0;
}
