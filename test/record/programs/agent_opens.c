/* Files that are opened in every way: by links, dots and descriptors, made, missing, refused, waited for. In the folder that is named. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			return printf("%s:%d: %s, errno %d\n", __FILE__, __LINE__, #condition, errno), 1; \
	} while (0)

static volatile int alarms, other;

static void on_alarm(int signal)
{
	(void)signal;
	alarms++;
}

static void open_other(int signal)
{
	(void)signal;
	if (other < 0)
		other = open("real/fifo", O_RDWR);
}

/* Opens a file and looks whether it is that of a name. */
static int is(int fd, const char *name)
{
	struct stat opened, named;
	int same = fd >= 0 && !fstat(fd, &opened) && !stat(name, &named) && opened.st_dev == named.st_dev &&
		   opened.st_ino == named.st_ino;
	return (close(fd) == 0) & same;
}

static int fails(int fd, int error)
{
	int same = fd == -1 && errno == error;
	if (fd >= 0)
		close(fd);
	return same;
}

static int waits(void)
{
	/* One that comes before the call is not enough. */
	struct itimerval often = {{0, 3000}, {0, 3000}}, never = {{0, 0}, {0, 0}};
	struct sigaction action = {.sa_handler = on_alarm};
	int before = alarms, fd;

	/* Nobody opens its other end: only the signal ends the call. */
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	fd = open("real/fifo", O_RDONLY);
	CHECK(fails(fd, EINTR));
	setitimer(ITIMER_REAL, &never, NULL);
	CHECK(alarms > before);
	/* The handler opens it, and the call begins once more. */
	other = -1;
	action.sa_handler = open_other;
	action.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	fd = open("real/fifo", O_RDONLY);
	setitimer(ITIMER_REAL, &never, NULL);
	CHECK(is(fd, "real/fifo"));
	CHECK(other >= 0 && !close(other));
	return 0;
}

/* Directories are given other names, and what is in them is opened by descriptors that were opened before. */
static int moves(int here)
{
	int outer, inner, old, fd;

	CHECK(!mkdir("outer", 0700) && !mkdir("outer/inner", 0700) && !mkdir("away", 0700));
	outer = open("outer", O_RDONLY | O_DIRECTORY);
	inner = openat(outer, "inner", O_RDONLY | O_DIRECTORY);
	CHECK(outer >= 0 && inner >= 0 && !close(openat(inner, "file", O_CREAT | O_WRONLY, 0600)));
	CHECK(!rename("outer/inner/file", "outer/inner/other") && is(openat(inner, "other", O_RDONLY), "outer/inner/other"));
	CHECK(!rename("outer", "moved") && is(openat(inner, "other", O_RDONLY), "moved/inner/other"));
	CHECK(!renameat(outer, "inner", here, "away/inner") && is(openat(inner, "other", O_RDONLY), "away/inner/other"));
	CHECK(!syscall(SYS_renameat2, here, "away", here, "moved", 2 /* RENAME_EXCHANGE */));
	CHECK(is(openat(inner, "other", O_RDONLY), "moved/inner/other") && is(openat(outer, ".", O_RDONLY), "away"));
	CHECK(!fchdir(inner) && !rename("../../moved", "../../last") && is(open("other", O_RDONLY), "../../last/inner/other"));
	CHECK(!fchdir(here) && !unlink("last/inner/other") && !rmdir("last/inner") && !rmdir("last") && !rmdir("away"));
	CHECK(!close(outer) && !close(inner));
	/* Who may not do that has no other root. */
	old = open("/", O_RDONLY | O_DIRECTORY);
	if (chroot("real") == 0) {
		CHECK(is(open("/file", O_RDONLY), "real/file") && is(open("real/file", O_RDONLY), "/file"));
		fd = openat(old, "dev/null", O_RDONLY);
		CHECK(fd >= 0 && !close(fd));
		CHECK(!fchdir(old) && !chroot(".") && !fchdir(here));
	}
	CHECK(!close(old));
	return 0;
}

int main(int argc, char **argv)
{
	int here, real, fd;
	struct stat facts;

	CHECK(argc == 2 && !chdir(argv[1]));
	CHECK(!mkdir("real", 0700) && !mkdir("real/deep", 0700) && !symlink("real", "link") && !symlink("file", "real/alias"));
	CHECK(!mkfifo("real/fifo", 0600));
	CHECK(close(open("real/file", O_CREAT | O_EXCL | O_WRONLY, 0600)) == 0);
	umask(022);
	for (int turn = 0; turn < 60; turn++) {
		here = open(".", O_RDONLY | O_DIRECTORY);
		real = openat(here, "real", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
		CHECK(here >= 0 && real >= 0);
		CHECK(is(openat(real, "file", O_RDONLY | O_NOFOLLOW), "real/file"));
		CHECK(is(openat(real, "alias", O_RDONLY), "real/file"));
		CHECK(fails(openat(real, "alias", O_RDONLY | O_NOFOLLOW), ELOOP));
		CHECK(is(openat(here, "link/deep/..//./file", O_RDONLY), "real/file"));
		CHECK(is(open("real/deep/../file", O_RDWR), "real/file"));
		CHECK(is(open("./real//deep/", O_RDONLY), "real/deep"));
		CHECK(is(syscall(SYS_open, "real/deep/../file", O_RDONLY), "real/file"));
		CHECK(is(syscall(SYS_open, "link/file", O_RDONLY), "real/file"));
		CHECK(is(openat(real, "..", O_RDONLY), "."));
		CHECK(is(open("/proc/self/status", O_RDONLY), "/proc/self/status"));
		CHECK(is(open("/../../dev/null", O_RDWR), "/dev/null"));
		CHECK(fails(open("real/none", O_RDONLY), ENOENT));
		CHECK(fails(open("link/none", O_RDONLY), ENOENT));
		CHECK(fails(open("real/file/none", O_RDONLY), ENOTDIR));
		CHECK(fails(openat(real, "file", O_CREAT | O_EXCL | O_WRONLY, 0600), EEXIST));
		CHECK(fails(openat(999, "file", O_RDONLY), EBADF));
		CHECK(is(openat(999, "/dev/null", O_RDONLY), "/dev/null"));
		/* What open(2) ignores, and openat2(2) does not. */
		fd = open("real/file", O_RDONLY | 0x40000000, 07777777);
		CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY && is(fd, "real/file"));
		fd = open("real/alias", O_PATH | O_NOFOLLOW | O_WRONLY);
		CHECK(fd >= 0 && !fstat(fd, &facts) && S_ISLNK(facts.st_mode) && !close(fd));
		fd = openat(real, "new", O_CREAT | O_WRONLY | O_TRUNC, 06666);
		CHECK(fd >= 0 && !fstat(fd, &facts) && (facts.st_mode & 07777) == (06666 & ~022));
		CHECK(is(fd, "real/new") && !unlink("real/new"));
		fd = open("real", O_TMPFILE | O_RDWR, 0600);
		CHECK(fd >= 0 ? write(fd, "x", 1) == 1 && !close(fd) : errno == EOPNOTSUPP);
		CHECK(waits() == 0);
		CHECK(turn < 50 || moves(here) == 0);
		CHECK(!close(real) && !close(here));
	}
	return 0;
}
