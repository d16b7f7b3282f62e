/*
 * Looks for programs where there are none: along a path, in what is no directory and where it may not look, with many strings and none,
 * with strings and tables that cannot be read; in children of fork and of vfork, and in the end for one that is there. As root it gives
 * that up first. In the directory that is given (compiled with -no-pie).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, strerror(errno)); _exit(1); } } while (0)

enum { ROUNDS = 30, MANY = 300 };

/* Where nothing is, which the compiler is not to know. */
static void *volatile bad = (void *)16;
static char page_end[8192] __attribute__((aligned(4096)));
static char *many[MANY + 1], *few[] = { "none", "of", "these", 0 }, *settings[] = { "A=1", "B=", 0 }, *odd[] = { "none", 0, 0 };

static void fails(const char *path, char **argv, char **envp, int expected)
{
	errno = 0;
	CHECK(execve(path, argv, envp) == -1 && errno == expected);
}

static void looks(void)
{
	static const char *const places[] = { "none/bin/of", "/nowhere/of/it", "here/none", "" };

	for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++)
		fails(places[i], few, settings, ENOENT);
	fails("file/none", few, settings, ENOTDIR);
	fails("shut/none", few, settings, EACCES);
	fails("loop", few, settings, ELOOP);
	fails("file", few, settings, EACCES);
	fails("here", few, settings, EACCES);
	fails("none", 0, settings, ENOENT);
	fails("none", few, 0, ENOENT);
	fails("none", many, settings, ENOENT);
	fails("none", few, many, ENOENT);
	fails(bad, few, settings, EFAULT);
	fails(page_end + 4096 - 3, few, settings, EFAULT);
	/* Where the program is looked for first, that is what is told. */
	CHECK(execve("none", odd, settings) == -1 && (errno == EFAULT || errno == ENOENT));
	CHECK(execve("none", bad, settings) == -1 && (errno == EFAULT || errno == ENOENT));
	CHECK(execve("none", few, (char **)(page_end + 4096 - 8)) == -1 && (errno == EFAULT || errno == ENOENT));
}

static void ends_well(pid_t child)
{
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

int main(int argc, char **argv)
{
	posix_spawnattr_t attributes;
	pid_t child;

	CHECK(argc == 2 && chdir(argv[1]) == 0);
	CHECK(mkdir("here", 0755) == 0 && mkdir("shut", 0700) == 0 && symlink("loop", "loop") == 0);
	CHECK(close(open("file", O_WRONLY | O_CREAT, 0600)) == 0 && chmod("shut", 0) == 0);
	CHECK(chmod(".", 0777) == 0 && (geteuid() || setuid(65534) == 0));
	for (int i = 0; i < MANY; i++)
		many[i] = "many";
	odd[1] = bad;
	memset(page_end, 'n', 4096);
	CHECK(mprotect(page_end + 4096, 4096, PROT_NONE) == 0 && close(open("/dev/null", O_RDONLY)) == 0);
	for (int round = 0; round < ROUNDS; round++)
		looks();
	for (int round = 0; round < 4; round++) {
		child = fork();
		if (!child) {
			looks();
			execle("/bin/true", "true", (char *)0, settings);
			_exit(1);
		}
		ends_well(child);
		child = vfork();
		if (!child) {
			execve("nowhere/true", few, settings);
			execve("/bin/true", few, settings);
			_exit(1);
		}
		ends_well(child);
	}
	CHECK(posix_spawnattr_init(&attributes) == 0);
	CHECK(posix_spawnp(&child, "true", 0, &attributes, few, settings) == 0);
	ends_well(child);
	execv("nowhere", argv);
	execl("/bin/echo", "echo", "done", (char *)0);
	return 1;
}
