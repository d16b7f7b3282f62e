/*
 * Executes itself with nothing in its environment, then with nearly as many bytes of arguments as may be given, and then
 * with no name at all; makes calls each time, and finds its arguments as they were given.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

enum { WORDS = 30, LENGTH = 65536 };

static int calls(int code)
{
	for (int i = 0; i < 100; i++)
		if (syscall(SYS_getppid) <= 0)
			exit(code);
	return 0;
}

static char *word(int which)
{
	char *text = malloc(LENGTH);
	memset(text, 'a' + which % 26, LENGTH - 1);
	text[LENGTH - 1] = 0;
	return text;
}

int main(int argc, char **argv)
{
	char *nothing[] = {NULL};
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (length < 0)
		return 2;
	path[length] = 0;
	if (argc == 1 && argv[0][0] != 0 && environ[0] != NULL) {
		calls(3);
		execve(path, (char *[]){path, "empty", NULL}, nothing);
		return 4;
	}
	if (argc == 2) {
		if (environ[0] != NULL || strcmp(argv[1], "empty") != 0)
			return 5;
		calls(6);
		char *words[WORDS + 2] = {path};
		for (int i = 0; i < WORDS; i++)
			words[i + 1] = word(i);
		execve(path, words, nothing);
		return perror("execve"), 7;
	}
	if (argc == WORDS + 1) {
		for (int i = 0; i < WORDS; i++)
			if (strcmp(argv[i + 1], word(i)) != 0)
				return 8;
		calls(9);
		execve(path, (char *[]){"", NULL}, nothing);
		return 10;
	}
	return calls(11);
}
