/* What the programs of this folder have in common: they are MPI programs that know nothing of
   BenchFS, work below the directory that is their last argument, verify all that they read, and say
   the same on every file system. */
#ifndef BENCHFS_TESTS_SCIENCE_CHECK_H
#define BENCHFS_TESTS_SCIENCE_CHECK_H

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rank;
static int ranks;
static const char* directory;

/* All ranks end when one finds something wrong. */
#define EXPECT(condition, ...)                                                               \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      fprintf(stderr, "%s:%d: rank %d: not so: %s: ", __FILE__, __LINE__, rank, #condition); \
      fprintf(stderr, __VA_ARGS__);                                                          \
      fprintf(stderr, "\n");                                                                 \
      MPI_Abort(MPI_COMM_WORLD, 1);                                                          \
    }                                                                                        \
  } while (0)

#define MPI_OK(call)                              \
  do {                                            \
    int error_ = (call);                          \
    if (error_ != MPI_SUCCESS) {                  \
      char text_[MPI_MAX_ERROR_STRING] = "";      \
      int length_ = 0;                            \
      MPI_Error_string(error_, text_, &length_);  \
      EXPECT(error_ == MPI_SUCCESS, "%s", text_); \
    }                                             \
  } while (0)

/* Says what is done, once. */
static inline void say(const char* what) {
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) {
    printf("%s\n", what);
    fflush(stdout);
  }
}

static inline const char* in(const char* name) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static inline void begin(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  directory = argv[argc - 1];
}

#endif
