/* Signals all the time, in calls that wait and in those that do not; handlers that make calls, on a stack of their own. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int alarms;
static int sink, pair[2];

static void on_alarm(int signal)
{
	int saved = errno;
	(void)signal;
	alarms++;
	if (write(sink, "alarm", 5) != 5 || syscall(SYS_gettid) != getpid())
		_exit(3);
	if (alarms % 50 == 0) {
		pid_t child = fork();
		if (child == 0)
			_exit(getppid() > 0 ? 0 : 1);
		int status;
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		if (status != 0)
			_exit(4);
	}
	errno = saved;
}

int main(void)
{
	stack_t stack = {.ss_sp = malloc(16384), .ss_size = 16384};
	struct itimerval timer = {{0, 300}, {0, 300}};
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK};
	long parent = getppid(), interrupted = 0;
	char bytes[4096];

	sink = open("/dev/null", O_WRONLY);
	if (pipe(pair) != 0 || sigaltstack(&stack, NULL) != 0 || sigaction(SIGALRM, &action, NULL) != 0)
		return 1;
	setitimer(ITIMER_REAL, &timer, NULL);
	while (alarms < 150) {
		for (int i = 0; i < 20; i++) {
			int fd = open("/etc/passwd", O_RDONLY);
			if (fd < 0 && errno == EINTR)
				continue;
			if (fd < 0 || read(fd, bytes, sizeof(bytes)) <= 0 || close(fd) != 0 || syscall(SYS_getppid) != parent)
				return puts("calls"), 2;
		}
		/* Nobody writes: the signal ends it. */
		if (read(pair[0], bytes, 1) >= 0 || errno != EINTR)
			return puts("read"), 2;
		interrupted++;
	}
	timer.it_value.tv_usec = timer.it_interval.tv_usec = 0;
	setitimer(ITIMER_REAL, &timer, NULL);
	return interrupted > 0 ? 0 : 2;
}
