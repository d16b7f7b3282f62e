/* Another thread executes a program when the first one waits for it, in a call that never comes back, as it has for others before. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pid_t first;

/* Whether a thread of this process sleeps in the kernel. */
static int sleeps(pid_t thread)
{
	char path[64], text[512];
	int fd, length;
	const char *state;

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
	fd = open(path, O_RDONLY);
	length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	close(fd);
	if (length <= 0)
		return 0;
	text[length] = 0;
	state = strrchr(text, ')');
	return state && state[2] == 'S';
}

static void *other(void *argument)
{
	while (!sleeps(first))
		usleep(1000);
	execl("/bin/true", "true", (char *)0);
	return argument;
}

static void *brief(void *argument)
{
	while (!sleeps(first))
		usleep(1000);
	return argument;
}

static int waits_for(void *(*run)(void *))
{
	pthread_t thread;

	return !pthread_create(&thread, 0, run, 0) && !pthread_join(thread, 0);
}

int main(void)
{
	first = getpid();
	return waits_for(brief) && waits_for(brief) && waits_for(other) ? 2 : 3;
}
