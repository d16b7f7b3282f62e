/*
 * Runs a command in which the kernel refuses calls, as in a container: refuse [eperm=NR,NR,... | enosys=NR,... | kill=NR,...]...
 * [namespaces] -- COMMAND. `namespaces` refuses clone(2) with flags that make some. Calls of numbers beyond the table, and those
 * of other architectures, are refused as well when any eperm= is given.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 4000
static struct sock_filter code[MOST];
static int length;

static void add(struct sock_filter one)
{
	if (length >= MOST) exit(99);
	code[length++] = one;
}

static void statement(unsigned short kind, unsigned value) { add((struct sock_filter)BPF_STMT(kind, value)); }

static void load(size_t offset) { statement(BPF_LD | BPF_W | BPF_ABS, offset); }

/* The next `skip` instructions are for this number alone. */
static void only_for(unsigned number, unsigned char skip)
{
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, skip));
}

static void refuse(char *numbers, unsigned action)
{
	for (char *word = strtok(numbers, ","); word; word = strtok(NULL, ",")) {
		only_for(atoi(word), 1);
		statement(BPF_RET | BPF_K, action);
	}
}

int main(int argc, char **argv)
{
	/* CLONE_NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWCGROUP */
	const unsigned namespaces = 0x7e020000;
	int at = 1, strict = 0;
	load(offsetof(struct seccomp_data, arch));
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
	int other = length;
	statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	load(offsetof(struct seccomp_data, nr));
	for (; at < argc && strcmp(argv[at], "--"); at++) {
		char *numbers = strchr(argv[at], '=');
		if (!strncmp(argv[at], "eperm=", 6)) {
			strict = 1;
			refuse(numbers + 1, SECCOMP_RET_ERRNO | EPERM);
		} else if (!strncmp(argv[at], "enosys=", 7)) {
			refuse(numbers + 1, SECCOMP_RET_ERRNO | ENOSYS);
		} else if (!strncmp(argv[at], "kill=", 5)) {
			refuse(numbers + 1, SECCOMP_RET_KILL_PROCESS);
		} else if (!strcmp(argv[at], "namespaces")) {
			only_for(SYS_clone, 4);
			load(offsetof(struct seccomp_data, args));
			add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, namespaces, 0, 1));
			statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
			statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		} else {
			return 99;
		}
	}
	if (strict) {
		const unsigned beyond = 480;
		code[other].k = SECCOMP_RET_ERRNO | EPERM;
		add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, beyond, 0, 1));
		statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	}
	statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {length, code};
	if (at + 1 >= argc || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("refuse");
		return 99;
	}
	execvp(argv[at + 1], argv + at + 1);
	perror(argv[at + 1]);
	return 99;
}
