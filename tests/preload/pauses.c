/* A library behind the preload library: a call of the kernel's that the other one makes on the way
 * of open() takes long, so that a fork comes while another thread is in the middle.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <time.h>

/* Threads that are to pause here, and how many are. */
_Thread_local int pauses;
int pausing;

int fcntl(int fd, int command, ...) {
  static int (*real)(int, int, ...);
  if (real == NULL) {
    real = (int (*)(int, int, ...))dlsym(RTLD_NEXT, "fcntl");
  }
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  int result = real(fd, command, argument);
  if (pauses && (command == F_DUPFD || command == F_DUPFD_CLOEXEC)) {
    __atomic_fetch_add(&pausing, 1, __ATOMIC_SEQ_CST);
    struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
    nanosleep(&pause, NULL);  // lint: allow sleep the length of a call
    __atomic_fetch_sub(&pausing, 1, __ATOMIC_SEQ_CST);
  }
  return result;
}
