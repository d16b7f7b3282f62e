#ifndef VALUE
#define VALUE 1
#endif
#ifdef DEEPER
extern int deeper(void);
int value(void) { return deeper() + VALUE; }
#else
int value(void) { return VALUE; }
#endif
int deeper(void) __attribute__((weak));
#ifndef DEEPER
int deeper(void) { return 40; }
#endif
