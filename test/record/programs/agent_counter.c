/* Forbids itself to read the time stamp counter, which is inherited, and makes calls. */
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			return printf("%s:%d: %s\n", __FILE__, __LINE__, #condition), 1; \
	} while (0)

static int calls(void)
{
	int wrong = 0;

	for (int i = 0; i < 200; i++)
		wrong += getppid() <= 0;
	return !wrong;
}

int main(void)
{
	int mode = 0, status = -1;

	CHECK(!prctl(PR_GET_TSC, &mode) && mode == PR_TSC_ENABLE);
	CHECK(!prctl(PR_SET_TSC, PR_TSC_SIGSEGV) && calls());
	if (fork() == 0)
		_exit(!calls());
	CHECK(wait(&status) > 0 && status == 0);
	CHECK(!prctl(PR_GET_TSC, &mode) && mode == PR_TSC_SIGSEGV);
	CHECK(!prctl(PR_SET_TSC, PR_TSC_ENABLE) && calls());
	return 0;
}
