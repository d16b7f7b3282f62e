/* Bad pointers, strings and buffers at the end of what is mapped: results as the kernel gives them, again and again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPECT(call, value, error) \
	do { \
		errno = 0; \
		long got = (call); \
		if (got != (value) || errno != (error)) \
			return printf("%s: %ld, errno %d\n", #call, got, errno), 1; \
	} while (0)

int main(void)
{
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *end = pages + 4096, *volatile bad = (char *)16;
	struct stat facts;
	int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY);

	munmap(end, 4096);
	for (int turn = 0; turn < 100; turn++) {
		struct iovec good = {end - 8, 8}, half[2] = {{end - 8, 8}, {bad, 8}};
		/* The string ends exactly where the page does. */
		strcpy(end - 10, "/dev/null");
		EXPECT(access(end - 10, F_OK), 0, 0);
		memset(end - 16, 'x', 16);
		EXPECT(access(end - 16, F_OK), -1, EFAULT);
		EXPECT(access(bad, F_OK), -1, EFAULT);
		EXPECT(stat("/", (struct stat *)bad), -1, EFAULT);
		/* Not of a device, whose times others may change between two runs. */
		EXPECT(stat("/", &facts), 0, 0);
		EXPECT(read(zero, bad, 8), -1, EFAULT);
		EXPECT(read(zero, end - 4, 8), 4, 0);
		EXPECT(write(null, end - 4, 8), 8, 0);
		EXPECT(readv(zero, &good, 1), 8, 0);
		EXPECT(readv(zero, half, 2), 8, 0);
		EXPECT(writev(null, &good, 1), 8, 0);
		EXPECT(writev(null, (struct iovec *)bad, 1), -1, EFAULT);
		EXPECT(read(-1, pages, 8), -1, EBADF);
		EXPECT(close(999), -1, EBADF);
	}
	return 0;
}
