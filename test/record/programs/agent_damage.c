/* Writes over the records that the agent has made of its calls; with an argument, records of calls that no agent makes. */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words)
{
	(void)words;
	/* native/format/src/ring.rs: the control block, where it says how much is there, and where records begin. */
	enum { HEAD = 48, RECORDS = 0x4000 };
	char *block;
	unsigned long long *head;

	for (int i = 0; i < 100; i++)
		getppid();
	__asm__ volatile("mov %%gs:0, %0" : "=r"(block));
	head = (unsigned long long *)(block + HEAD);
	if (count > 1) {
		/* A record is 96 bytes: its size, the number of the call, what it has captured, and more that is 0. */
		unsigned record[24] = {96, SYS_chdir};

		memcpy(block + RECORDS + *head, record, sizeof(record));
		*head += sizeof(record);
		return 0;
	}
	memset(block + RECORDS, 0, *head);
	*head += 4096;
	return 0;
}
