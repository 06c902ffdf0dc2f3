/* Handlers of signals that arrive in the middle of calls on files. With pauses.c, so that they do.
 *
 *     signals DIRECTORY
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAY(call) printf("%s: %ld\n", #call, (long)(call))

static volatile int handled;
static volatile int result_in_handler;
static volatile int last_value;
static sigjmp_buf place;

static void open_and_read(int number) {
  (void)number;
  char byte = 0;
  int fd = open("file", O_RDONLY);
  result_in_handler = fd < 0 ? errno : read(fd, &byte, 1) == 1 ? byte : -1;
  close(fd);
  ++handled;
}

static void leave(int number) {
  (void)number;
  siglongjmp(place, 1);
}

static void note(int number, siginfo_t* info, void* context) {
  (void)number;
  (void)context;
  last_value = 10 * last_value + info->si_value.sival_int;
  ++handled;
}

/* While a signal, which has a handler, arrives 50 ms later. */
static int open_slowly(void) {
  /* What the preload library has ready for use is used up: it makes more in its own lock. */
  for (int i = 0; i < 20; ++i) {
    (void)!open("file", O_RDONLY);
  }
  int* pauses = dlsym(RTLD_DEFAULT, "pauses");
  struct itimerval timer = {.it_value = {.tv_usec = 50 * 1000}};
  setitimer(ITIMER_REAL, &timer, NULL);
  *pauses = 1;
  int fd = open("file", O_RDWR);
  *pauses = 0;
  return fd;
}

static void wait_for(int count) {
  while (handled < count) {
    usleep(1000);  // lint: allow sleep until a handler has run
  }
}

static void a_handler_opens(void) {
  signal(SIGALRM, open_and_read);
  int fd = open_slowly();
  wait_for(1);
  printf("opened: %d, in the handler: '%c'\n", fd >= 0, result_in_handler);
  close(fd);
}

static void a_handler_does_not_return(void) {
  signal(SIGALRM, leave);
  if (sigsetjmp(place, 1) == 0) {
    open_slowly();
    for (;;) {
      pause();
    }
  }
  *(int*)dlsym(RTLD_DEFAULT, "pauses") = 0;
  int fd = open("file", O_RDWR);
  printf("after a jump: %d\n", fd >= 0);
  SAY(pwrite(fd, "x", 1, 0));
  SAY(flock(fd, LOCK_EX | LOCK_NB));
  close(fd);
  sigset_t mask;
  sigprocmask(SIG_BLOCK, NULL, &mask);
  SAY(sigismember(&mask, SIGALRM));
}

static void* send_queued(void* process) {
  (void)process;
  usleep(50 * 1000);  // lint: allow sleep to be somewhere in a call
  sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1});
  sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 2});
  return NULL;
}

static void queued_signals_keep_their_values(void) {
  struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
  sigaction(SIGRTMIN, &action, NULL);
  signal(SIGALRM, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  handled = 0;
  pthread_t thread;
  pthread_sigmask(SIG_BLOCK, &set, NULL); /* the other thread does not take them */
  pthread_create(&thread, NULL, send_queued, NULL);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
  int fd = open_slowly();
  pthread_join(thread, NULL);
  wait_for(2);
  printf("values: %d\n", last_value);
  close(fd);
}

static void the_program_sees_its_own_handlers(void) {
  struct sigaction action = {.sa_handler = leave, .sa_flags = SA_RESETHAND | SA_NODEFER};
  struct sigaction before;
  SAY(sigaction(SIGUSR1, &action, NULL));
  SAY(sigaction(SIGUSR1, NULL, &before));
  printf("%d %x\n", before.sa_handler == leave, (unsigned)before.sa_flags & 0xfbffffffU);
  if (sigsetjmp(place, 1) == 0) {
    raise(SIGUSR1);
  }
  sigaction(SIGUSR1, NULL, &before);
  printf("once: %d\n", before.sa_handler == SIG_DFL);
  SAY(signal(SIGUSR2, open_and_read) == SIG_DFL);
  SAY(signal(SIGUSR2, SIG_IGN) == open_and_read);
  SAY(signal(SIGUSR2, SIG_DFL) == SIG_IGN);
  SAY(signal(SIGSEGV, open_and_read) == SIG_DFL);
  SAY(signal(SIGSEGV, SIG_DFL) == open_and_read);
  SAY(signal(SIGKILL, leave) == SIG_ERR);
  SAY(signal(999, leave) == SIG_ERR);
}

/* A child that has locked the file. */
static pid_t start_holder(void) {
  int ends[2];
  if (pipe(ends) != 0) {
    return -1;
  }
  pid_t child = fork();
  if (child == 0) {
    int fd = open("file", O_RDWR);
    flock(fd, LOCK_EX);
    (void)!write(ends[1], "x", 1);
    pause();
  }
  char byte;
  (void)!read(ends[0], &byte, 1);
  close(ends[0]);
  close(ends[1]);
  return child;
}

/* The usual timeout: a handler leaves the wait. What is locked later ends with the descriptor. */
static void a_jump_ends_a_wait_for_a_lock(void) {
  pid_t child = start_holder();
  signal(SIGALRM, leave);
  volatile int fd = open("file", O_RDWR);
  if (sigsetjmp(place, 1) == 0) {
    struct itimerval timer = {.it_value = {.tv_usec = 50 * 1000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    SAY(flock(fd, LOCK_EX));
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  SAY(flock(fd, LOCK_EX));
  close(fd);
  fd = open("file", O_RDWR);
  SAY(flock(fd, LOCK_EX | LOCK_NB));
  close(fd);
}

/* A wait for a lock ends, and the lock can be had later. */
static void a_wait_for_a_lock_ends(void) {
  pid_t child = start_holder();
  struct sigaction action = {.sa_handler = open_and_read};
  sigaction(SIGALRM, &action, NULL);
  handled = 0;
  int fd = open("file", O_RDWR);
  struct itimerval timer = {.it_value = {.tv_usec = 50 * 1000}};
  setitimer(ITIMER_REAL, &timer, NULL);
  int result = flock(fd, LOCK_EX);
  printf("a wait for a lock: %d %s, handled %d\n", result, strerrorname_np(errno), handled);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  SAY(flock(fd, LOCK_EX));
  close(fd);
}

int main(int count, char** arguments) {
  if (chdir(arguments[count - 1]) != 0) {
    return 1;
  }
  int fd = open("file", O_CREAT | O_RDWR, 0600);
  if (write(fd, "text", 4) != 4) {
    return 1;
  }
  close(fd);
  a_handler_opens();
  a_handler_does_not_return();
  queued_signals_keep_their_values();
  the_program_sees_its_own_handlers();
  a_wait_for_a_lock_ends();
  a_jump_ends_a_wait_for_a_lock();
  return 0;
}
