/* Maps sockets, whose pages the kernel puts there as data come (tcp(7), TCP_ZEROCOPY_RECEIVE). */
#include <netinet/in.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>

int main(void) {
	for (int k = 0; k < 5; k++) {
		int end = socket(AF_INET, SOCK_STREAM, 0);
		if (mmap(NULL, 4096, PROT_READ, MAP_SHARED, end, 0) == MAP_FAILED)
			return 1;
	}
	return 0;
}
