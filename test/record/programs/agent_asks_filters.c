/* A program that asks which filters of calls the kernel can put on, as libraries do that make them: by calls that fail. */
#include <errno.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int calls(void)
{
	long parent = getppid();

	for (int i = 0; i < 200; i++)
		if (syscall(SYS_getppid) != parent)
			return 0;
	return 1;
}

int main(void)
{
	static const unsigned long flags[] = {0, SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_LOG};

	if (!calls())
		return 1;
	for (int i = 0; i < 3; i++)
		if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags[i], NULL) != -1 || errno != EFAULT)
			return 2;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL) != -1 || errno != EINVAL)
		return 3;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) != -1 || errno != EFAULT)
		return 4;
	return !calls();
}
