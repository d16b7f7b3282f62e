/*
 * Ways back from signal handlers: to behind a call, to a loop, to another place, with another mask while signals wait, out of a handler
 * within a handler, on a stack of its own, and with another result; again and again. Then a timer interrupts calls of all kinds and the
 * agent's work for them, and nothing may be lost or changed by it (not with an argument). Prints how many of each there were.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, strerror(errno)); _exit(1); } } while (0)

enum { ROUNDS = 60, STORM = 400, STACK = 64 << 10 };

static volatile sig_atomic_t plain, nested, moved, late, alarms;
static char stack[STACK];

static void note(int signal) { plain++; }

static void inner(int signal) { nested++; }

static void outer(int signal)
{
	CHECK(raise(SIGUSR2) == 0);
	nested++;
}

extern char elsewhere[];

/* The way back leads to another place, as if the call had failed there. */
static void move(int signal, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	registers[REG_RIP] = (greg_t)elsewhere;
	registers[REG_RAX] = -4711;
	moved++;
}

static void be_late(int signal) { late++; }

/* Lets in what has been blocked: it comes as soon as this is behind. */
static void let_in(int signal, siginfo_t *info, void *context)
{
	CHECK(raise(SIGRTMIN) == 0);
	CHECK(late == 0);
	sigdelset(&((ucontext_t *)context)->uc_sigmask, SIGRTMIN);
}

static void ring(int signal)
{
	int before = errno;

	alarms++;
	getppid();
	errno = before;
}

static void handle(int signal, void (*handler)(int), void (*told)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_flags = flags };

	if (told)
		action.sa_sigaction = told;
	else
		action.sa_handler = handler;
	CHECK(sigaction(signal, &action, 0) == 0);
}

/* tgkill(2), and where it went on. */
static __attribute__((noinline, noclone)) long kill_self(int signal)
{
	long result;

	__asm__ volatile("syscall\n\tjmp 1f\n\t.globl elsewhere\nelsewhere:\n\tneg %%rax\n1:"
			 : "=a"(result)
			 : "a"((long)SYS_tgkill), "D"((long)getpid()), "S"((long)gettid()), "d"((long)signal)
			 : "rcx", "r11", "memory");
	return result;
}

static void by_call(void)
{
	sigset_t waits, now;

	sigemptyset(&waits);
	sigaddset(&waits, SIGRTMIN);
	for (int round = 0; round < ROUNDS; round++) {
		CHECK(raise(SIGUSR1) == 0 && plain == round + 1);
		CHECK(raise(SIGHUP) == 0 && nested == 2 * round + 2);
		CHECK(kill_self(SIGUSR1) == 0 && plain-- == round + 2);
		CHECK(kill_self(SIGTERM) == 4711 && moved == round + 1);
		CHECK(sigprocmask(SIG_BLOCK, &waits, 0) == 0);
		late = 0;
		CHECK(raise(SIGINT) == 0 && late == 1);
		CHECK(sigprocmask(SIG_SETMASK, 0, &now) == 0 && !sigismember(&now, SIGRTMIN));
	}
}

/* Registers that a call keeps are kept, and its result is right, whenever a signal comes. */
static uint64_t counted(uint64_t turns)
{
	uint64_t sum = 0, kept[4] = { 11, 22, 33, 44 };
	register uint64_t first __asm__("rbx") = kept[0];
	register uint64_t second __asm__("r12") = kept[1];
	register uint64_t third __asm__("r13") = kept[2];
	register uint64_t fourth __asm__("r14") = kept[3];
	pid_t parent = getppid();

	for (uint64_t turn = 0; turn < turns; turn++) {
		long result = SYS_getppid, below = 0x1234 + turn;

		/* With a word in the red zone. */
		__asm__ volatile("mov %1, -64(%%rsp)\n\tsyscall\n\tmov -64(%%rsp), %1"
				 : "+a"(result), "+r"(below), "+r"(first), "+r"(second), "+r"(third), "+r"(fourth)
				 :
				 : "rcx", "r11", "memory");
		CHECK(result == parent && below == (long)(0x1234 + turn));
		sum += first + second + third + fourth;
	}
	return sum;
}

static void by_timer(void)
{
	struct itimerval often = { { 0, 150 }, { 0, 150 } }, never = { 0 };
	uint64_t turns = 0;
	int ends[2];
	char byte = 0;

	CHECK(pipe(ends) == 0 && setitimer(ITIMER_REAL, &often, 0) == 0);
	while (alarms < STORM) {
		CHECK(counted(50) == 50 * 110);
		turns += 50;
		CHECK(write(ends[1], &turns, sizeof(turns)) == sizeof(turns));
		CHECK(read(ends[0], &turns, sizeof(turns)) == sizeof(turns));
		CHECK(read(-1, &byte, 1) == -1 && errno == EBADF);
	}
	CHECK(setitimer(ITIMER_REAL, &never, 0) == 0);
}

int main(int argc, char **argv)
{
	stack_t own = { .ss_sp = stack, .ss_size = STACK };

	CHECK(close(open("/dev/null", O_RDONLY)) == 0 && sigaltstack(&own, 0) == 0);
	handle(SIGUSR1, note, 0, 0);
	handle(SIGUSR2, inner, 0, SA_ONSTACK);
	handle(SIGHUP, outer, 0, SA_ONSTACK);
	handle(SIGTERM, 0, move, SA_SIGINFO);
	handle(SIGRTMIN, be_late, 0, SA_ONSTACK);
	handle(SIGINT, 0, let_in, SA_SIGINFO);
	handle(SIGALRM, ring, 0, SA_RESTART);
	by_call();
	if (argc == 1)
		by_timer();
	printf("%d %d %d\n", plain, nested, moved);
	return 0;
}
