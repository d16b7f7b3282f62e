/* Code that makes calls, read by the calls that there are for that, moved, and shared with a file: it is the program's own. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			fflush(stdout); \
			_exit(1); \
		} \
	} while (0)

/* The same code seven times, each in pages of its own; the last is never run. */
__asm__(".text\n"
	".balign 4096\n"
	"copies:\n"
	".rept 7\n"
	".balign 4096\n"
	"mov $110, %eax\n" /* getppid */
	"syscall\n"
	"cmp $-4096, %rax\n"
	"ret\n"
	".endr\n"
	".balign 4096\n");

enum { PAGE = 4096, LENGTH = 14, TURNS = 100 };
extern char copies[];
static const char *const untouched = copies + 6 * PAGE;

typedef long call(void);

static char *used(int number)
{
	char *code = copies + number * PAGE;

	for (int i = 0; i < TURNS; i++)
		CHECK(((call *)code)() == getppid());
	return code;
}

static int is_same(const char *bytes)
{
	return memcmp(bytes, untouched, LENGTH) == 0;
}

int main(void)
{
	char bytes[PAGE];
	struct iovec own[] = {{bytes, 5}, {bytes + 5, LENGTH - 5}}, pieces[2];
	int made = memfd_create("code", 0), status, memory, file;
	char *code;
	void *moved, *page;

	/* Written to a file. */
	code = used(0);
	CHECK(pwrite(made, code, PAGE, 0) == PAGE && pread(made, bytes, PAGE, 0) == PAGE && is_same(bytes));
	code = used(1);
	pieces[0] = (struct iovec){code, 3}, pieces[1] = (struct iovec){code + 3, LENGTH - 3};
	CHECK(pwritev(made, pieces, 2, 0) == LENGTH && pread(made, bytes, LENGTH, 0) == LENGTH && is_same(bytes));
	/* Read as memory, of its own process and of another. */
	code = used(2);
	pieces[0] = (struct iovec){code, LENGTH};
	CHECK(process_vm_readv(getpid(), own, 2, pieces, 1, 0) == LENGTH && is_same(bytes));
	code = used(3);
	memory = open("/proc/self/mem", O_RDONLY);
	CHECK(memory >= 0 && pread(memory, bytes, LENGTH, (off_t)code) == LENGTH && is_same(bytes));
	CHECK(lseek(memory, (off_t)code, SEEK_SET) == (off_t)code && readv(memory, own, 2) == LENGTH && is_same(bytes));
	code = used(4);
	if (fork() == 0) {
		pieces[0] = (struct iovec){code, LENGTH};
		memset(bytes, 0, LENGTH);
		CHECK(process_vm_readv(getppid(), own, 2, pieces, 1, 0) == LENGTH && is_same(bytes));
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	/* Moved. */
	code = used(5);
	page = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	moved = mremap(code, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page);
	CHECK(page != MAP_FAILED && moved == page);
	for (int i = 0; i < TURNS; i++)
		CHECK(((call *)moved)() == getppid());
	/* Shared with a file that it may write to. */
	file = fileno(tmpfile());
	CHECK(file >= 0 && write(file, untouched, PAGE) == PAGE);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, file, 0);
	CHECK(page != MAP_FAILED);
	for (int i = 0; i < TURNS; i++)
		CHECK(((call *)page)() == getppid());
	CHECK(pread(file, bytes, LENGTH, 0) == LENGTH && is_same(bytes));
	return 0;
}
