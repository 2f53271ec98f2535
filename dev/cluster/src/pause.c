/* The process that holds a pod's namespaces: it waits, reaps orphaned processes, and exits on SIGINT and SIGTERM. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(int number) {
  (void)number;
  while (waitpid(-1, 0, WNOHANG) > 0) {
  }
}

static void end(int number) {
  (void)number;
  _exit(0);
}

static void on(int number, void (*action)(int)) {
  struct sigaction how = {.sa_handler = action, .sa_flags = SA_NOCLDSTOP};
  sigaction(number, &how, 0);
}

int main(void) {
  on(SIGCHLD, reap);
  on(SIGINT, end);
  on(SIGTERM, end);
  for (;;) {
    pause();
  }
}
