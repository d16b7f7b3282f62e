/* Asks the processor for a random number, which replay has to tell again. */
#include <stdio.h>

int main(void)
{
	unsigned long long number = 0;
	unsigned char given = 0;

	if (__builtin_cpu_supports("rdrnd"))
		__asm__ volatile("rdrand %0; setc %1" : "=r"(number), "=q"(given) : : "cc");
	printf("%d %llx\n", given, number);
	return 0;
}
