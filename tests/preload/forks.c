/* Children of a process whose other threads open, close and connect. With pauses.c.
 *
 *     forks DIRECTORY
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool has_ended;

static void* open_once(void* path) {
  int* pauses = dlsym(RTLD_DEFAULT, "pauses");
  *pauses = 1;
  int fd = open(path, O_RDONLY);
  *pauses = 0;
  __atomic_store_n(&has_ended, true, __ATOMIC_SEQ_CST);
  close(fd);
  return NULL;
}

/* Whether every open file that the child inherits can be read. Those of the preload library are
   memory files to the kernel. */
static bool are_files_whole(void) {
  for (int fd = 3; fd < 64; ++fd) {
    char link[64];
    char target[64] = "";
    char byte;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, target, sizeof target - 1) > 0 && strstr(target, "benchfs-open") != NULL &&
        read(fd, &byte, 1) < 0) {
      return false;
    }
  }
  return true;
}

/* The fork comes when the other thread has the descriptor and does not know it yet. */
static void fork_in_open(void) {
  int* pausing = dlsym(RTLD_DEFAULT, "pausing");
  pthread_t thread;
  pthread_create(&thread, NULL, open_once, "file");
  while (__atomic_load_n(pausing, __ATOMIC_SEQ_CST) == 0 && !has_ended) {
    usleep(1000);  // lint: allow sleep until it is in the call
  }
  pid_t child = fork();
  if (child == 0) {
    _exit(are_files_whole() ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  printf("a fork in the middle of open: %d\n", status);
  pthread_join(thread, NULL);
}

static bool is_over;

static void* open_always(void* name) {
  while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
    int fd = open(name, O_CREAT | O_RDWR, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1) {
      puts("a thread fails");
    }
    close(fd);
  }
  return NULL;
}

static void fork_beside_threads(void) {
  static char names[3][8] = {"one", "two", "three"};
  pthread_t threads[3];
  for (int i = 0; i < 3; ++i) {
    pthread_create(&threads[i], NULL, open_always, names[i]);
  }
  int failed = 0;
  for (int i = 0; i < 60; ++i) {
    pid_t child = fork();
    if (child == 0) {
      alarm(20);
      char byte;
      int fd = open("file", O_RDONLY);
      _exit(fd >= 0 && read(fd, &byte, 1) == 1 ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    failed += status != 0;
  }
  __atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
  for (int i = 0; i < 3; ++i) {
    pthread_join(threads[i], NULL);
  }
  printf("forks beside threads that open files: %d failed\n", failed);
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
  fork_in_open();
  fork_beside_threads();
  return 0;
}
