/* A program that reads where its memory is in several ways, and finds its own mappings and nothing of a recorder. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) ((what) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #what), exit(1)))

static char whole[1 << 20], other[1 << 20];
static char *volatile bad = (char *)8;

static size_t read_all(int fd, char *buffer, size_t piece)
{
	size_t at = 0;
	ssize_t got;
	while ((got = read(fd, buffer + at, piece)) > 0)
		at += got;
	CHECK(got == 0);
	buffer[at] = 0;
	return at;
}

/* Whether a line is about an address, and what is mapped is named as it is to be. */
static int shows(const char *text, const void *addr)
{
	uintptr_t wanted = (uintptr_t)addr;
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		unsigned long start, end;
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && start <= wanted && wanted < end)
			return 1;
	}
	return 0;
}

static void check(const char *text)
{
	int local;
	CHECK(shows(text, &local) && shows(text, (const void *)(uintptr_t)check) && shows(text, whole));
	CHECK(strstr(text, "[stack]") && !strstr(text, "memfd:trace"));
	for (uintptr_t addr = 0x70000000; addr < 0x70200000; addr += 4096)
		CHECK(!shows(text, (void *)addr));
}

int main(void)
{
	int fd = open("/proc/self/maps", O_RDONLY), copy;
	size_t length, first;

	for (int i = 0; i < 100; i++)
		getppid();
	CHECK(fd >= 0);
	length = read_all(fd, whole, 100);
	check(whole);
	/* From the beginning again, in other pieces: the same, as nothing was mapped meanwhile. */
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	CHECK(read_all(fd, other, sizeof(other) - 1) == length && !strcmp(whole, other));
	CHECK(lseek(fd, 0, SEEK_CUR) == (off_t)length);
	CHECK(lseek(fd, -1, SEEK_SET) == -1);
	/* A descriptor of the same description goes on where the other one stands; a child's, too. */
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	CHECK(read(fd, other, 10) == 10);
	copy = dup(fd);
	CHECK(read(copy, other + 10, 10) == 10);
	if (fork() == 0)
		_exit(read(copy, other, 10) == 10 ? 0 : 1);
	int status;
	CHECK(wait(&status) > 0 && status == 0);
	first = 30 + read_all(fd, other + 30, 4096);
	CHECK(first == length && !memcmp(whole, other, 20) && !strcmp(whole + 30, other + 30));
	CHECK(pread(fd, other, 7, 5) == 7 && !memcmp(other, whole + 5, 7));
	CHECK(read(fd, bad, 16) == 0);
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && read(fd, bad, 16) == -1);
	/* What is mapped later is told. */
	void *mapped = mmap(0, 1 << 16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	read_all(fd, other, 4096);
	CHECK(shows(other, mapped));
	CHECK(close(fd) == 0 && close(copy) == 0);
	fd = open("/proc/self/smaps", O_RDONLY);
	read_all(fd, other, 4096);
	check(other);
	CHECK(strstr(other, "VmFlags"));
	CHECK(close(fd) == 0);
	/* That of another process. */
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/maps", getpid());
	if (fork() == 0) {
		fd = open(path, O_RDONLY);
		CHECK(fd >= 0);
		read_all(fd, other, 512);
		check(other);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	return 0;
}
