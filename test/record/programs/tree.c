/* Makes processes and threads in every way. argv[1] says which; each says on stdout what its children did. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void reap(const char *what, pid_t pid) {
	int status = 0;
	if (waitpid(pid, &status, __WALL) != pid) {
		perror(what);
		exit(98);
	}
	if (WIFEXITED(status))
		printf("%s exit %d\n", what, WEXITSTATUS(status));
	else
		printf("%s signal %d\n", what, WTERMSIG(status));
	fflush(stdout);
}

static int code(void *value) {
	return (int)(long)value;
}

static void *stack(void) {
	char *base = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return base + 65536;
}

static void forks(void) {
	pid_t pid = fork();
	if (pid == 0)
		_exit(1);
	reap("fork", pid);
	pid = vfork();
	if (pid == 0)
		_exit(2);
	reap("vfork", pid);
	pid = vfork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "exit 3", NULL);
		_exit(99);
	}
	reap("vfork+exec", pid);
	char *argv[] = {"sh", "-c", "exit 4", NULL};
	posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
	reap("posix_spawn", pid);
	fflush(stdout);
	reap("clone", clone(code, stack(), SIGCHLD, (void *)5));
	/* Shares memory but is no thread; ends without a signal. */
	reap("clone vm", clone(code, stack(), CLONE_VM, (void *)6));
	reap("clone vm files fs", clone(code, stack(), CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, (void *)7));
	struct clone_args args = {.exit_signal = SIGCHLD};
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		_exit(8);
	reap("clone3", pid);
	/* Children that ask not to be traced. */
	reap("untraced", clone(code, stack(), CLONE_UNTRACED | SIGCHLD, (void *)9));
	struct clone_args untraced = {.exit_signal = SIGCHLD, .flags = CLONE_UNTRACED};
	pid = (pid_t)syscall(SYS_clone3, &untraced, sizeof untraced);
	if (pid == 0)
		_exit(10);
	reap("untraced clone3", pid);
	printf("flags %s\n", untraced.flags == CLONE_UNTRACED ? "kept" : "changed");
}

static void *quick(void *unused) {
	return unused;
}

static void *waits(void *unused) {
	pause();
	return unused;
}

static void *last(void *main_thread) {
	pthread_join(*(pthread_t *)main_thread, NULL);
	printf("main thread is gone\n");
	fflush(stdout);
	_exit(12);
}

static void *execs(void *unused) {
	execl("/bin/sh", "sh", "-c", "echo executed by a thread; exit 13", NULL);
	return unused;
}

static void *kills(void *unused) {
	raise(SIGSEGV);
	return unused;
}

static pthread_t self;

static void threads(const char *how) {
	pthread_t thread;
	for (int i = 0; i < 3; i++) {
		pthread_create(&thread, NULL, quick, NULL);
		pthread_join(thread, NULL);
	}
	self = pthread_self();
	if (!strcmp(how, "exit_group")) {
		for (int i = 0; i < 4; i++)
			pthread_create(&thread, NULL, waits, NULL);
		exit(11);
	}
	if (!strcmp(how, "leader_first")) {
		pthread_create(&thread, NULL, last, &self);
		pthread_exit(NULL);
	}
	if (!strcmp(how, "thread_exec")) {
		for (int i = 0; i < 4; i++)
			pthread_create(&thread, NULL, waits, NULL);
		pthread_create(&thread, NULL, execs, NULL);
		pause();
	}
	if (!strcmp(how, "thread_exec_after_leader")) {
		pthread_create(&thread, NULL, execs, NULL);
		pthread_exit(NULL);
	}
	if (!strcmp(how, "thread_dies")) {
		pthread_create(&thread, NULL, kills, NULL);
		pause();
	}
}

/* Does nothing but wait; argv[2] gets its process id. */
static void daemonize(const char *file, const char *program) {
	if (fork() != 0)
		_exit(0);
	setsid();
	if (fork() != 0)
		_exit(0);
	char command[4096];
	snprintf(command, sizeof command, "echo $$ > %s.new; mv %s.new %s; %s", file, file, file, program);
	execl("/bin/sh", "sh", "-c", command, NULL);
	_exit(99);
}

static void bomb(int count) {
	for (int i = 0; i < count; i++)
		if (fork() == 0)
			_exit(i % 7);
	int sum = 0, status;
	while (wait(&status) > 0)
		sum += WEXITSTATUS(status);
	printf("sum %d\n", sum);
}

/* Processes that are killed while they make others, in a process group of their own: many orphans, nobody told of. */
static void killed_makers(int rounds) {
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int i = 0; i < rounds; i++) {
		int ready[2];
		if (pipe(ready) != 0)
			_exit(97);
		pid_t maker = fork();
		if (maker == 0) {
			setpgid(0, 0);
			for (int k = 0;; k++) {
				if (fork() == 0)
					_exit(0);
				if (k == i % 5 && write(ready[1], "x", 1) != 1)
					_exit(96);
			}
		}
		char byte;
		if (read(ready[0], &byte, 1) != 1)
			_exit(95);
		/* Only the maker is killed; its last child is on its own. */
		kill(maker, SIGKILL);
		close(ready[0]);
		close(ready[1]);
		while (waitpid(-1, NULL, 0) > 0) {
		}
	}
	printf("done\n");
}

static void zombie(void) {
	pid_t pid = fork();
	if (pid == 0)
		_exit(1);
	siginfo_t info;
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	printf("zombie exit %d\n", info.si_status);
	/* Never reaped. */
}

static void stopped(void) {
	pid_t pid = fork();
	if (pid == 0) {
		raise(SIGSTOP);
		_exit(14);
	}
	int status;
	waitpid(pid, &status, WUNTRACED);
	printf("stopped %d by %d\n", WIFSTOPPED(status), WSTOPSIG(status));
	kill(pid, SIGCONT);
	waitpid(pid, &status, WCONTINUED);
	printf("continued %d\n", WIFCONTINUED(status) || WIFEXITED(status));
	if (!WIFEXITED(status))
		waitpid(pid, &status, 0);
	printf("exit %d\n", WEXITSTATUS(status));
}

/* Killed inside a call that never returns. */
static void killed_inside(void) {
	int ends[2];
	if (pipe(ends) != 0)
		_exit(97);
	pid_t pid = fork();
	if (pid == 0) {
		char byte;
		_exit((int)read(ends[0], &byte, 1));
	}
	/* It sleeps in the call when the kernel says that it waits there. */
	char name[64], place[64] = "";
	snprintf(name, sizeof name, "/proc/%d/wchan", pid);
	while (!strstr(place, "pipe_read")) {
		FILE *file = fopen(name, "r");
		place[0] = 0;
		if (file == NULL || fgets(place, sizeof place, file) == NULL)
			place[0] = 0;
		if (file != NULL)
			fclose(file);
	}
	kill(pid, SIGKILL);
	reap("child", pid);
}

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "";
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "forks"))
		forks();
	else if (!strcmp(what, "daemon"))
		daemonize(argv[2], argv[3]);
	else if (!strcmp(what, "bomb"))
		bomb(atoi(argv[2]));
	else if (!strcmp(what, "killed_makers"))
		killed_makers(atoi(argv[2]));
	else if (!strcmp(what, "zombie"))
		zombie();
	else if (!strcmp(what, "stopped"))
		stopped();
	else if (!strcmp(what, "killed_inside"))
		killed_inside();
	else
		threads(what);
	return 0;
}
