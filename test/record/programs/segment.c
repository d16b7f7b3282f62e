/* The first System V segment of its namespace, whose number is 0, seen by two processes. */
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int id = shmget(IPC_PRIVATE, 4096, 0600 | IPC_CREAT);
	volatile int *here = shmat(id, NULL, 0);
	if (here == (void *)-1) return 1;
	if (fork() == 0) {
		*here = getpid();
		_exit(0);
	}
	int status, child = wait(&status);
	printf("segment %d: %d\n", id, child == *here);
	return shmctl(id, IPC_RMID, NULL);
}
