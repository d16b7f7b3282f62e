/*
 * Executes itself again and again while a timer's signals, which are ignored, come in the middle of what the loader does. Each new program
 * looks whether it is as without the agent: the descriptors, what is mapped where, and the code of the C library, by calls and after it was
 * taken out of memory and changed back.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

static void fail(const char *what, int line)
{
	printf("line %d: %s: %m\n", line, what);
	exit(1);
}

/* Code that is mapped, and the file that it is of. */
struct code {
	char *start;
	size_t length;
	off_t offset;
	char path[256];
};

static struct code find(const char *name)
{
	struct code found = { 0 };
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");

	CHECK(maps);
	while (fgets(line, sizeof line, maps)) {
		unsigned long start, end, offset, inode;
		unsigned major, minor;
		char rights[5], path[256] = "";
		struct stat is;

		CHECK(sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %255s", &start, &end, rights, &offset, &major, &minor, &inode, path) >= 7);
		CHECK(!strstr(path, "memfd") && !strstr(line, "deleted"));
		if (path[0] == '/')
			CHECK(stat(path, &is) == 0 && is.st_ino == inode);
		if (strstr(path, name) && !strcmp(rights, "r-xp")) {
			CHECK(!found.start);
			found = (struct code){ (char *)start, end - start, offset, "" };
			strcpy(found.path, path);
		}
	}
	fclose(maps);
	return found;
}

/* What a call sees of code is what is in its file. */
static void compare(const struct code *code)
{
	size_t page = 4096;
	char *own = malloc(code->length), *seen = malloc(code->length);
	int file = open(code->path, O_RDONLY), memory = open("/proc/self/mem", O_RDONLY), copy = memfd_create("copy", 0);

	CHECK(own && seen && file >= 0 && memory >= 0 && copy >= 0);
	CHECK(pread(file, own, code->length, code->offset) >= (ssize_t)(code->length - page));
	for (size_t at = 0; at < code->length; at += page)
		CHECK(pwrite(copy, code->start + at, page, at) == (ssize_t)page);
	CHECK(pread(copy, seen, code->length, 0) == (ssize_t)code->length);
	CHECK(!memcmp(own, seen, code->length - page));
	CHECK(pread(memory, seen, code->length, (off_t)(uintptr_t)code->start) == (ssize_t)code->length);
	CHECK(!memcmp(own, seen, code->length - page));
	CHECK(!close(file) && !close(memory) && !close(copy));
	free(own);
	free(seen);
}

static void go_on(void)
{
	for (int i = 0; i < 20; i++)
		CHECK(getppid() > 0 && access("/", R_OK) == 0);
}

static int child(int number)
{
	int fd = open("/dev/null", O_RDONLY);
	sigset_t mask;
	struct code code;

	CHECK(fd == 3 && !close(fd));
	CHECK(!sigprocmask(SIG_BLOCK, NULL, &mask) && !sigismember(&mask, SIGALRM) && !sigismember(&mask, SIGTERM));
	code = find("/libc.so");
	CHECK(code.start);
	go_on();
	if (number % 4 == 0)
		compare(&code);
	if (number % 4 == 1) {
		CHECK(!madvise(code.start, code.length, MADV_DONTNEED));
		go_on();
		compare(&code);
	}
	if (number % 4 == 2) {
		CHECK(!mprotect(code.start, code.length, PROT_READ | PROT_WRITE | PROT_EXEC));
		go_on();
		CHECK(!mprotect(code.start, code.length, PROT_READ | PROT_EXEC));
		go_on();
		compare(&code);
	}
	if (number % 4 == 3) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			go_on();
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && !status);
	}
	go_on();
	find("/libc.so");
	return 0;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 12;

	if (argc > 2)
		return child(atoi(argv[2]));
	signal(SIGALRM, SIG_IGN);
	for (int i = 0; i < rounds; i++) {
		char number[16];
		pid_t pid;
		int status;

		snprintf(number, sizeof number, "%d", i);
		pid = fork();
		if (!pid) {
			int period = i % 3 ? 20 + i * 7 : 0;
			struct itimerval timer = { { 0, period }, { 0, period } };

			setitimer(ITIMER_REAL, &timer, NULL);
			execl(argv[0], argv[0], "0", number, NULL);
			_exit(2);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
	}
	puts("as without");
	return 0;
}
