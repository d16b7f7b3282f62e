/* Who is asked whether a file may be opened, fanotify(7), is asked once for each time, also where he says no. Exits with 77 without the
 * right to ask for that. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/fanotify.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMES = 50, NO_RIGHT = 77 };

static int opens(const char *path) {
  int status = 0;
  for (int i = 0; i < TIMES; i++) {
    int fd = open(path, O_RDONLY);
    status |= (fd < 0) != i % 2 || (fd < 0 && errno != EPERM);
    close(fd);
  }
  return status;
}

int main(int argc, char **argv) {
  int answers = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY);
  if (answers < 0 || argc < 2) return NO_RIGHT;
  if (fanotify_mark(answers, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, argv[1])) return NO_RIGHT;
  pid_t child = fork();
  if (child == 0) _exit(opens(argv[1]));
  struct pollfd ready = {answers, POLLIN, 0};
  int asked = 0, status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    struct fanotify_event_metadata event;
    if (poll(&ready, 1, 20) <= 0 || read(answers, &event, sizeof event) != sizeof event) continue;
    struct fanotify_response response = {event.fd, asked++ % 2 ? FAN_DENY : FAN_ALLOW};
    if (write(answers, &response, sizeof response) != sizeof response) return 2;
    close(event.fd);
  }
  printf("asked %d times\n", asked);
  return asked != TIMES || status != 0;
}
