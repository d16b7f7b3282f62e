/* Computes for a while without a call. */

#include <stdio.h>

volatile unsigned long turns;

int main(void) {
  while (turns < 3000000000UL) turns++;
  printf("%lu\n", turns);
  return 0;
}
