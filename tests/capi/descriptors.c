/* A program closes all descriptors, also those that it does not know of, and opens files under
   their numbers, while its threads use the cluster through the node door: its files get no byte of
   ours, and none of them is closed. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "benchfs/benchfs.h"

enum { kThreads = 4, kFiles = 80, kMostDescriptors = 256 };

static benchfs_context_t* context;
static atomic_int stop;
static atomic_long calls[kThreads];

static void* work(void* argument) {
  long number = (long)argument;
  char path[32];
  char bytes[5000] = "";
  snprintf(path, sizeof path, "/file.%ld", number);
  while (!stop) {
    benchfs_file_t* file = benchfs_open(context, path, O_RDWR | O_CREAT, 0644);
    if (file != NULL && benchfs_pwrite(file, bytes, sizeof bytes, 0) == sizeof bytes) {
      ++calls[number];
    }
    if (file == NULL || calls[number] % 50 == 0) {
      usleep(1000);  // lint: allow sleep so that the client sleeps, too
    }
    if (file != NULL) {
      benchfs_close(file);
    }
  }
  return NULL;
}

static long all_calls(void) {
  long sum = 0;
  for (int i = 0; i < kThreads; ++i) {
    sum += calls[i];
  }
  return sum;
}

static void wait_for(long more) {
  long before = all_calls();
  for (int i = 0; i < 3000 && all_calls() < before + more; ++i) {
    usleep(10000);  // lint: allow sleep until the threads have made calls
  }
  if (all_calls() < before + more) {
    fprintf(stderr, "calls fail: %s\n", benchfs_get_error());
    exit(1);
  }
}

int main(void) {
  setenv("BENCHFS_TRANSPORT", "node", 1);
  context = benchfs_init(NULL, NULL, NULL, 0, 0);
  if (context == NULL) {
    fprintf(stderr, "%s\n", benchfs_get_error());
    return 1;
  }
  pthread_t threads[kThreads];
  for (long i = 0; i < kThreads; ++i) {
    pthread_create(&threads[i], NULL, work, (void*)i);
  }
  wait_for(100);
  char directory[] = "/tmp/benchfs-descriptors-XXXXXX";
  if (mkdtemp(directory) == NULL) {
    return 1;
  }
  for (int fd = 3; fd < kMostDescriptors; ++fd) {
    close(fd);
  }
  int own[kFiles];
  for (int i = 0; i < kFiles; ++i) {
    char path[64];
    snprintf(path, sizeof path, "%s/%d", directory, i);
    own[i] = open(path, O_RDWR | O_CREAT, 0600);
    unlink(path);
  }
  rmdir(directory);
  wait_for(1000);
  stop = 1;
  for (int i = 0; i < kThreads; ++i) {
    pthread_join(threads[i], NULL);
  }
  benchfs_finalize(context);
  for (int i = 0; i < kFiles; ++i) {
    struct stat info;
    if (fstat(own[i], &info) != 0 || !S_ISREG(info.st_mode) || info.st_size != 0) {
      fprintf(stderr, "descriptor %d of the program was closed or written to\n", own[i]);
      return 1;
    }
  }
  return 0;
}
