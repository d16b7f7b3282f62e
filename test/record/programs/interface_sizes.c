/* Asks an interface for what stands behind structs whose length other members tell. It need not know any of it. */
#define _GNU_SOURCE
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* In memory that 32-bit programs can name, too. */
struct request {
	char name[16];
	unsigned data[4];
	unsigned char bytes[2048];
};

static void ask(int fd, struct request *request)
{
	unsigned long addr = (unsigned long)request->bytes;

	memcpy(request->data, &addr, sizeof(addr));
	ioctl(fd, SIOCETHTOOL, request);
}

/* The same by a call of a 32-bit program. */
static void ask_32(int fd, struct request *request)
{
	int result;

	request->data[0] = (unsigned)(unsigned long)request->bytes;
	request->data[1] = 0;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(54), "b"(fd), "c"(SIOCETHTOOL), "d"(request)
			 : "memory", "r8", "r9", "r10", "r11");
}

int main(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct request *request = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	unsigned *words = (unsigned *)request->bytes;

	strcpy(request->name, "lo");
	words[0] = ETHTOOL_PERQUEUE;
	words[2] = 5;
	words[127 + 2] = 1u << 31;
	words[1] = ETHTOOL_GCOALESCE;
	ask(fd, request);
	words[1] = ETHTOOL_SCOALESCE;
	ask(fd, request);
	memset(words, 0, 1024);
	words[0] = ETHTOOL_GRXCLSRLALL;
	((struct ethtool_rxnfc *)words)->rule_cnt = 5;
	ask(fd, request);
	memset(words, 0, 1024);
	words[0] = ETHTOOL_GRXCLSRLALL;
	/* rule_cnt of struct ethtool_rxnfc, where 64-bit members are at multiples of 4. */
	words[176 / 4] = 7;
	ask_32(fd, request);
	return 0;
}
