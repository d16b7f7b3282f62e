#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(void) {
  printf("compiled %s %s, run at %ld by %d\n", __DATE__, __TIME__, (long)time(NULL), getpid());
  return 0;
}
