// manners: what the library does to the process it lives in: signals, handlers, children.
#include <benchfs/benchfs.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failures;
#define CHECK(condition)                                                                       \
  do {                                                                                         \
    if (!(condition)) {                                                                        \
      ++failures;                                                                              \
      printf("%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #condition, benchfs_get_error()); \
    }                                                                                          \
  } while (0)

static benchfs_context_t* fs;
static benchfs_file_t* file;

// No thread of the library takes a signal that the program waits for.
static void waits_for_a_signal(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, NULL);
  for (int i = 0; i < 20; ++i) {
    kill(getpid(), SIGUSR1);
    struct timespec patience = {10, 0};
    CHECK(sigtimedwait(&set, NULL, &patience) == SIGUSR1);
  }
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static volatile sig_atomic_t interrupted;  // calls that the handler made inside one of ours
static volatile sig_atomic_t wrong;        // answers of such calls that are none of the two allowed

static void on_alarm(int signal) {
  (void)signal;
  int kept = errno;
  benchfs_stat_t attributes;
  int answer = benchfs_stat(fs, "/manners", &attributes);
  char byte;
  ssize_t bytes = benchfs_read(file, &byte, 0);
  if (answer == -EDEADLK && bytes == -EDEADLK) {
    ++interrupted;
  } else if (answer != 0 || bytes != 0) {
    ++wrong;
  }
  errno = kept;
}

// A handler that calls us in the middle of one of our functions gets an error, and nothing breaks.
static void interrupts_itself(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_alarm;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, NULL);
  struct itimerval every = {{0, 500}, {0, 500}};
  setitimer(ITIMER_REAL, &every, NULL);
  time_t end = time(NULL) + 30;
  while (interrupted < 5 && time(NULL) < end) {
    char bytes[64] = "x";
    benchfs_stat_t attributes;
    CHECK(benchfs_lseek(file, 0, SEEK_SET) == 0);
    CHECK(benchfs_write(file, bytes, sizeof bytes) == (ssize_t)sizeof bytes);
    CHECK(benchfs_stat(fs, "/manners", &attributes) == 0);
  }
  struct itimerval never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &never, NULL);
  CHECK(interrupted >= 5);
  CHECK(wrong == 0);
}

static int remember(void* arg, const char* name, uint32_t type, uint64_t inode) {
  (void)name, (void)type, (void)inode;
  benchfs_stat_t attributes;
  *(int*)arg = benchfs_stat(fs, "/manners", &attributes);
  return 1;
}

// The callback of readdir may call us.
static void calls_from_a_callback(void) {
  int answer = -1;
  CHECK(benchfs_readdir(fs, "/", remember, &answer) == 1);
  CHECK(answer == 0);
  benchfs_stat_t attributes;
  CHECK(benchfs_stat(fs, "/manners", &attributes) == 0);
}

// A child cannot use inherited handles, and gets an error at once; it may connect by itself.
static void forks(void) {
  pid_t child = fork();
  if (child == 0) {
    alarm(20);
    benchfs_stat_t attributes;
    char byte = 0;
    int bad = benchfs_stat(fs, "/manners", &attributes) != -ECANCELED;
    bad |= benchfs_write(file, &byte, 1) != -ECANCELED;
    bad |= benchfs_close(file) != -ECANCELED;
    bad |= benchfs_finalize(fs) != -ECANCELED;
    benchfs_context_t* own = benchfs_init(NULL, NULL, NULL, 0, 0);
    if (own == NULL) {
      printf("child: %s\n", benchfs_get_error());
      fflush(stdout);
    }
    bad |= own == NULL || benchfs_stat(own, "/manners", &attributes) != 0;
    bad |= own == NULL || benchfs_finalize(own) != 0;
    _exit(bad);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  benchfs_stat_t attributes;
  CHECK(benchfs_stat(fs, "/manners", &attributes) == 0);
}

static void* look_for_ever(void* unused) {
  (void)unused;
  for (;;) {
    benchfs_stat_t attributes;
    benchfs_file_t* own = benchfs_open(fs, "/manners", O_RDWR, 0);
    CHECK(own != NULL);
    CHECK(benchfs_pwrite(own, "abc", 3, 0) == 3);
    CHECK(benchfs_fstat(own, &attributes) == 0);
    CHECK(benchfs_close(own) == 0);
    pthread_testcancel();
  }
}

// A thread that is cancelled does not end in the middle of one of our functions.
static void cancels_threads(void) {
  for (int i = 0; i < 40; ++i) {
    pthread_t thread;
    void* result = NULL;
    CHECK(pthread_create(&thread, NULL, look_for_ever, NULL) == 0);
    struct timespec moment = {0, 200000 + 37000 * i};
    nanosleep(&moment, NULL);  // lint: allow sleep to be somewhere in a call
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
  }
}

int main(void) {
  fs = benchfs_init(NULL, NULL, NULL, 0, 0);
  if (fs == NULL) {
    printf("%s\n", benchfs_get_error());
    return 1;
  }
  file = benchfs_open(fs, "/manners", O_CREAT | O_RDWR, 0644);
  CHECK(file != NULL);
  waits_for_a_signal();
  interrupts_itself();
  calls_from_a_callback();
  cancels_threads();
  forks();
  CHECK(benchfs_close(file) == 0);
  CHECK(benchfs_unlink(fs, "/manners") == 0);
  CHECK(benchfs_finalize(fs) == 0);
  return failures == 0 ? 0 : 1;
}
