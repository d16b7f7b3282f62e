/*
 * What is moved without passing memory, and memory that is moved: sendfile(2), copy_file_range(2) and FICLONE between files, sockets and
 * the program's own output, with offsets and without, to bad places and with bad descriptors; mremap(2) of memory of its own, of a file
 * that is shared, of code that makes calls, and of what is not there; and files that are written to disk. In the directory that is given;
 * everything is in static memory, so that two recordings have the same addresses (compiled with -no-pie).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, strerror(errno)); _exit(1); } } while (0)
#define BAD ((void *)16)

enum { ROUNDS = 40, PAGE = 4096, SIZE = 3 * PAGE };

static char bytes[SIZE], told[SIZE];
static off_t from, to;
static int source, target, constant, ends[2];

static void fill(int round)
{
	for (int i = 0; i < SIZE; i++)
		bytes[i] = 'a' + (i + round) % 26;
	CHECK(pwrite(source, bytes, SIZE, 0) == SIZE);
}

static void moves(int round)
{
	from = 10;
	to = 20;
	CHECK(lseek(source, 0, SEEK_SET) == 0 && ftruncate(target, 0) == 0 && lseek(target, 0, SEEK_SET) == 0);
	CHECK(copy_file_range(source, 0, target, 0, 100, 0) == 100);
	CHECK(copy_file_range(source, &from, target, &to, SIZE, 0) == SIZE - 10 && from == SIZE && to == SIZE + 10);
	CHECK(copy_file_range(source, &from, target, 0, 1, 0) == 0);
	CHECK(copy_file_range(source, BAD, target, 0, 1, 0) == -1 && errno == EFAULT);
	CHECK(copy_file_range(source, 0, -1, 0, 1, 0) == -1 && errno == EBADF);
	CHECK(pread(target, told, SIZE, 20) == SIZE - 10 && !memcmp(told, bytes + 10, SIZE - 10));
	from = 5;
	CHECK(sendfile(ends[0], source, &from, 1000) == 1000 && from == 1005);
	CHECK(read(ends[1], told, SIZE) == 1000 && !memcmp(told, bytes + 5, 1000));
	CHECK(lseek(source, 7, SEEK_SET) == 7 && sendfile(target, source, 0, 50) == 50 && lseek(source, 0, SEEK_CUR) == 57);
	CHECK(sendfile(ends[0], source, BAD, 10) == -1 && errno == EFAULT);
	CHECK(sendfile(ends[0], ends[0], 0, 10) == -1 && (errno == EINVAL || errno == ESPIPE));
	CHECK(sendfile(ends[0], -1, 0, 10) == -1 && errno == EBADF);
	/* To the program's own output: that has to be in the trace. A pipe is given the file's pages, whatever is written there later. */
	from = round;
	CHECK(sendfile(STDOUT_FILENO, constant, &from, 10) == 10);
	/* Few file systems can. */
	CHECK(ioctl(target, FICLONE, source) == 0 || errno == EOPNOTSUPP || errno == EXDEV || errno == EINVAL || errno == ENOTTY);
	CHECK(ioctl(target, FICLONE, -1) == -1);
	CHECK(fsync(target) == 0 && fdatasync(target) == 0 && fsync(ends[0]) == -1 && fdatasync(-1) == -1);
	CHECK(sync_file_range(target, 0, 100, SYNC_FILE_RANGE_WRITE) == 0);
}

static void remaps(int round)
{
	char *memory = mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *other;

	CHECK(memory != MAP_FAILED);
	for (int i = 0; i < 4; i++)
		memory[i * PAGE] = i + round;
	CHECK(mremap(memory, 4 * PAGE, 2 * PAGE, 0) == memory);
	other = mremap(memory, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
	CHECK(other != MAP_FAILED && other[0] == (char)round && other[PAGE] == (char)(1 + round) && !other[2 * PAGE]);
	other[63 * PAGE] = 1;
	CHECK(mremap(other, 64 * PAGE, PAGE, MREMAP_MAYMOVE) == other);
	CHECK(mremap(other + 1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mremap(BAD, PAGE, PAGE, 0) == MAP_FAILED);
	CHECK(mremap((char *)0x10000, PAGE, PAGE, 0) == MAP_FAILED && errno == EFAULT);
	CHECK(mremap(other, PAGE, 0, 0) == MAP_FAILED && errno == EINVAL);
	/* Where something else is. */
	memory = mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mremap(other, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, memory) == memory && memory[0] == (char)round);
	CHECK(munmap(memory, PAGE) == 0);
	/* A file that is shared, which is written to there afterwards. */
	memory = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, source, 0);
	CHECK(memory != MAP_FAILED);
	other = mremap(memory, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
	CHECK(other != MAP_FAILED);
	other[PAGE] = '!';
	CHECK(pread(source, told, 1, PAGE) == 1 && told[0] == '!');
	CHECK(pwrite(source, "?", 1, PAGE + 1) == 1 && other[PAGE + 1] == '?');
	CHECK(munmap(other, 2 * PAGE) == 0);
}

/* Code that makes a call, and is moved. */
static void moves_code(void)
{
	/* mov eax, 102 (getuid); syscall; ret */
	static const unsigned char code[] = { 0xb8, 102, 0, 0, 0, 0x0f, 0x05, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xc3 };
	char *memory = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int user = getuid();

	CHECK(memory != MAP_FAILED);
	memcpy(memory, code, sizeof code);
	CHECK(mprotect(memory, PAGE, PROT_READ | PROT_EXEC) == 0);
	for (int i = 0; i < 4; i++) {
		for (int k = 0; k < 20; k++)
			CHECK(((int (*)(void))memory)() == user);
		char *next = mmap(0, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(next != MAP_FAILED);
		memory = mremap(memory, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, next);
		CHECK(memory == next);
		char *grown = mremap(memory, PAGE, 32 * PAGE, MREMAP_MAYMOVE);
		CHECK(grown != MAP_FAILED && !memcmp(grown, code, sizeof code));
		memory = mremap(grown, 32 * PAGE, PAGE, MREMAP_MAYMOVE);
		CHECK(memory == grown);
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 2 && chdir(argv[1]) == 0 && close(open("/dev/null", O_RDONLY)) == 0);
	CHECK((source = open("source", O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0);
	CHECK((target = open("target", O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0);
	CHECK((constant = open("constant", O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0);
	for (int i = 0; i < PAGE; i++)
		bytes[i] = 'a' + i % 26;
	CHECK(write(constant, bytes, PAGE) == PAGE);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	for (int round = 0; round < ROUNDS; round++) {
		fill(round);
		moves(round);
		remaps(round);
	}
	moves_code();
	return 0;
}
