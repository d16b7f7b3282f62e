/*
 * Makes calls that an older filter may refuse: `filtered N` makes getpriority(2) N times at one place and once at each of nine others,
 * and clone(2) with a namespace of its own. Says what it was told, and whether its signals were its own all the time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { VALUE = 7077 };

static int refused, made;
static volatile sig_atomic_t handled, lost;

/* A place of its own for each use. */
#define RAW(number)                                                                                                       \
	({                                                                                                                \
		long result;                                                                                              \
		__asm__ volatile("syscall"                                                                                \
				 : "=a"(result)                                                                           \
				 : "a"(number), "D"(PRIO_PROCESS), "S"(0)                                                 \
				 : "rcx", "r11", "memory");                                                               \
		result;                                                                                                   \
	})

static void count(long result)
{
	if (result == -EPERM)
		refused++;
	else
		made += result > 0;
}

/* Whether SIGSYS is blocked, and its handler is this one. */
static int is_kept(int is_blocked, void (*handler)(int))
{
	struct sigaction action;
	sigset_t set;

	sigprocmask(SIG_BLOCK, NULL, &set);
	sigaction(SIGSYS, NULL, &action);
	return sigismember(&set, SIGSYS) == is_blocked && action.sa_handler == handler;
}

static void check(int line, int holds)
{
	if (holds) return;
	lost++;
	fprintf(stderr, "line %d\n", line);
}

static void on_sigsys(int number) { handled += number == SIGSYS; }

/* Blocks SIGSYS while it runs, and makes calls at places that nobody has come to. */
static void on_usr1(int number)
{
	(void)number;
	count(RAW(SYS_getpriority));
	check(__LINE__, is_kept(1, on_sigsys));
	count(RAW(SYS_getpriority));
	check(__LINE__, is_kept(1, on_sigsys));
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_usr1};
	int times = argc > 1 ? atoi(argv[1]) : 0;
	sigset_t all, none, own;
	siginfo_t info;

	sigfillset(&all);
	sigemptyset(&none);
	sigfillset(&action.sa_mask);
	signal(SIGSYS, on_sigsys);
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < times; i++)
		count(RAW(SYS_getpriority));
	check(__LINE__, is_kept(0, on_sigsys));
	raise(SIGUSR1);
	check(__LINE__, is_kept(0, on_sigsys));
	sigprocmask(SIG_SETMASK, &all, NULL);
	count(RAW(SYS_getpriority));
	check(__LINE__, is_kept(1, on_sigsys));
	count(RAW(SYS_getpriority));
	raise(SIGSYS);
	count(RAW(SYS_getpriority));
	check(__LINE__, is_kept(1, on_sigsys) && !handled);
	sigprocmask(SIG_SETMASK, &none, NULL);
	check(__LINE__, is_kept(0, on_sigsys) && handled == 1);
	sigemptyset(&own);
	sigaddset(&own, SIGSYS);
	sigprocmask(SIG_BLOCK, &own, NULL);
	pthread_sigqueue(pthread_self(), SIGSYS, (union sigval){.sival_int = VALUE});
	count(RAW(SYS_getpriority));
	check(__LINE__, sigwaitinfo(&own, &info) == SIGSYS && info.si_code == SI_QUEUE && info.si_value.sival_int == VALUE &&
				info.si_pid == getpid());
	sigprocmask(SIG_UNBLOCK, &own, NULL);
	signal(SIGSYS, SIG_IGN);
	count(RAW(SYS_getpriority));
	count(RAW(SYS_getpriority));
	count(RAW(SYS_getpriority));
	check(__LINE__, is_kept(0, SIG_IGN));
	long child = syscall(SYS_clone, CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
	if (child == 0) _exit(0);
	printf("%d refused, %d made, clone %s, %d lost\n", refused, made, child < 0 ? strerror(errno) : "made", (int)lost);
	return 0;
}
