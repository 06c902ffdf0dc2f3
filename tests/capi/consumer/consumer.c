/* A program as a user of an installed BenchFS would write it. */
#include <benchfs/benchfs.h>

#include <stdio.h>
#include <string.h>

int main(void) {
  benchfs_context_t* fs = benchfs_init(NULL, NULL, NULL, 0, 0);
  if (fs == NULL) {
    fprintf(stderr, "consumer: %s\n", benchfs_get_error());
    return 1;
  }
  char back[16] = "";
  benchfs_file_t* file = benchfs_create(fs, "/greeting", O_RDWR | O_TRUNC, 0644);
  if (file == NULL || benchfs_write(file, "hello", 5) != 5 ||
      benchfs_pread(file, back, sizeof back, 0) != 5 || strcmp(back, "hello") != 0 ||
      benchfs_close(file) != 0) {
    fprintf(stderr, "consumer: %s\n", benchfs_get_error());
    return 1;
  }
  printf("benchfs %s: %s\n", benchfs_version(), back);
  return benchfs_finalize(fs) == 0 ? 0 : 1;
}
