/* Locks all its memory, of which there may not be much, without the privilege to lock more. */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

int main(void)
{
	struct rlimit limit;

	for (int i = 0; i < 100; i++)
		getppid();
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_max > 32 << 20)
		limit.rlim_max = 32 << 20;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || (geteuid() == 0 && (setgid(65534) || setuid(65534))))
		return 1;
	printf("%d\n", mlockall(MCL_CURRENT) == 0 ? 0 : errno);
	/* With so much address space there is room for that. */
	limit.rlim_cur = limit.rlim_max = 64 << 20;
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		return 2;
	printf("%d\n", mmap(NULL, 32 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ? 0 : errno);
	return 0;
}
