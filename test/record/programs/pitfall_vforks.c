/* Children that share the memory of their parents, from several threads at once, and their children likewise. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, STORM = 40 };

static long bad;

static void expect(pid_t pid, int code)
{
	int status;
	if (pid <= 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != code)
		__atomic_add_fetch(&bad, 1, __ATOMIC_SEQ_CST);
}

static void *storm(void *unused)
{
	(void)unused;
	for (int i = 0; i < STORM; i++) {
		pid_t pid = vfork();
		if (pid == 0) {
			/* A child's child, while both parents wait. */
			if (i % 4 == 0 && vfork() == 0)
				_exit(getppid() > 0 ? 3 : 4);
			for (int k = 0; k < 10; k++)
				syscall(SYS_getppid);
			if (i % 2 == 0)
				_exit(5);
			execl("/bin/sh", "sh", "-c", "exit 6", NULL);
			_exit(7);
		}
		expect(pid, i % 2 == 0 ? 5 : 6);
		for (int k = 0; k < 10; k++)
			if (syscall(SYS_getppid) <= 0)
				__atomic_add_fetch(&bad, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, storm, NULL) != 0)
			return 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return bad != 0;
}
