/* What one process sees of its shared mappings. `mappings DIRECTORY` prints the same below the
 * prefix as elsewhere. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, BOTH = PROT_READ | PROT_WRITE };

/* The call and its result, or the name of its errno. */
#define SAY(call) say(#call, (long)(call))

static void say(const char* what, long result) {
  printf("%s: %ld%s%s\n",
         what,
         result,
         result < 0 ? " " : "",
         result < 0 ? strerrorname_np(errno) : "");
}

/* The bytes of a file at these offsets, with a point for each zero. */
static void show(int fd, int count, const off_t* offsets) {
  for (int i = 0; i < count; ++i) {
    char byte = '-';
    pread(fd, &byte, 1, offsets[i]);
    putchar(byte != 0 ? byte : '.');
  }
  putchar('\n');
}
#define SHOW(fd, ...) \
  show(fd, sizeof((off_t[]){__VA_ARGS__}) / sizeof(off_t), (off_t[]){__VA_ARGS__})

static int make(const char* name, off_t size) {
  int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0644);
  if (fd < 0 || ftruncate(fd, size) != 0) {
    printf("cannot make %s: %s\n", name, strerrorname_np(errno));
  }
  return fd;
}

static char* map(int fd, size_t size, off_t offset) {
  char* memory = mmap(NULL, size, BOTH, MAP_SHARED, fd, offset);
  if (memory == MAP_FAILED) {
    printf("mmap: %s\n", strerrorname_np(errno));
    exit(1);
  }
  return memory;
}

/* What another process, which maps nothing, has to say. */
static void ask(const char* command) {
  fflush(stdout);
  if (system(command) != 0) {
    printf("failed: %s\n", command);
  }
}

static void writes_beside_stores(void) {
  int fd = make("beside", 2 * PAGE);
  char* memory = map(fd, 2 * PAGE, 0);
  memory[0] = 'a';
  SAY(pwrite(fd, "w", 1, 100));
  memory[200] = 'b';
  putchar(memory[100]);
  putchar('\n');
  memory[300] = 'x';
  SAY(pwrite(fd, "y", 1, 300));
  memory[301] = 'z';
  SAY(write(fd, "position", 8));
  memory[7] = 'N';
  ask("printf o | dd of=beside bs=1 seek=50 conv=notrunc 2>/dev/null");
  SAY(munmap(memory, 2 * PAGE));
  SHOW(fd, 0, 7, 50, 100, 200, 300, 301);
  ask("head -c 8 beside");
  close(fd);
}

static void appends(void) {
  int fd = make("append", 10);
  int end = open("append", O_RDWR | O_APPEND);
  char* memory = map(end, PAGE, 0);
  memory[1] = 's';
  SAY(write(end, "ten", 3));
  SAY(pwrite(end, "more", 4, 0));
  printf("%.7s\n", memory + 10);
  SAY(msync(memory, PAGE, MS_SYNC));
  SAY(write(end, "!", 1));
  SAY(munmap(memory, PAGE));
  SHOW(fd, 0, 1, 10, 13, 16, 17);
  SAY(lseek(fd, 0, SEEK_END));
  close(end);
  close(fd);
}

static void reads_after_stores(void) {
  int fd = make("reads", 3 * PAGE);
  int other = open("reads", O_RDONLY);
  char bytes[8] = {0};
  char* memory = map(fd, 3 * PAGE, 0);
  memcpy(memory, "stored", 6);
  SAY(read(other, bytes, 6));
  puts(bytes);
  memory[PAGE] = 'p';
  SHOW(fd, PAGE);
  char* mine = mmap(NULL, PAGE, BOTH, MAP_PRIVATE, fd, 0);
  printf("%.6s\n", mine);
  munmap(mine, PAGE);
  int copy = make("copy", 0);
  memory[2] = 'O';
  SAY(copy_file_range(fd, &(off_t){0}, copy, &(off_t){0}, 6, 0));
  SHOW(copy, 0, 1, 2, 3);
  SAY(copy_file_range(copy, &(off_t){0}, fd, &(off_t){2 * PAGE}, 6, 0));
  printf("%.6s\n", memory + 2 * PAGE);
  close(copy);
  close(fd);
  memory[3] = 'C';
  SHOW(other, 0, 1, 2, 3);
  close(other);
  other = open("reads", O_RDONLY);
  memory[4] = 'D';
  SHOW(other, 3, 4);
  SAY(fsync(other));
  ask("head -c 6 reads; echo");
  memory[5] = 'E';
  close(other);
  ask("head -c 6 reads; echo");
  SAY(munmap(memory, 3 * PAGE));
}

static void two_mappings(void) {
  int fd = make("two", 4 * PAGE);
  char* first = map(fd, 3 * PAGE, 0);
  int other = open("two", O_RDWR);
  char* second = map(other, 3 * PAGE, PAGE);
  first[PAGE + 10] = 'f';
  putchar(second[10]);
  second[PAGE + 20] = 's';
  putchar(first[2 * PAGE + 20]);
  putchar('\n');
  char* reader = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
  SAY(munmap(first, 3 * PAGE));
  second[PAGE + 30] = 't';
  SAY(munmap(second, 3 * PAGE));
  SHOW(fd, PAGE + 10, 2 * PAGE + 20, 2 * PAGE + 30);
  SAY(pwrite(fd, "r", 1, PAGE));
  printf("%c%c\n", reader[0], reader[10]);
  munmap(reader, PAGE);
  close(other);
  /* A window that moves over a file that grows. */
  for (int i = 0; i < 8; ++i) {
    ftruncate(fd, (i + 1) * 16 * PAGE);
    char* window = map(fd, 32 * PAGE, i * 16 * PAGE);
    window[i] = (char)('0' + i);
    munmap(window, 32 * PAGE);
  }
  for (int i = 0; i < 8; ++i) {
    SHOW(fd, i * 16 * PAGE + i);
  }
  close(fd);
}

static void replaced(void) {
  int fd = make("replaced", 8 * PAGE);
  char* memory = map(fd, 8 * PAGE, 0);
  for (int i = 0; i < 8; ++i) {
    memory[i * PAGE] = (char)('a' + i);
  }
  SAY(munmap(memory + PAGE, PAGE));
  mmap(memory + 2 * PAGE, PAGE, BOTH, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  memory[2 * PAGE] = 'X';
  char* same = mmap(memory + 3 * PAGE, PAGE, BOTH, MAP_SHARED | MAP_FIXED, fd, 3 * PAGE);
  printf("%c\n", same[0]);
  same[1] = 'D';
  char* mine = mmap(memory + 4 * PAGE, PAGE, BOTH, MAP_PRIVATE | MAP_FIXED, fd, 0);
  printf("%c\n", mine[0]);
  mine[0] = 'Y';
  char* moved = mmap(NULL, PAGE, BOTH, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mremap(moved, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, memory + 5 * PAGE);
  memory[6 * PAGE + 1] = 'G';
  SAY(munmap(memory, 8 * PAGE));
  SHOW(fd, 0, PAGE, 2 * PAGE, 3 * PAGE, 3 * PAGE + 1, 4 * PAGE, 5 * PAGE, 6 * PAGE, 6 * PAGE + 1);
  close(fd);
}

static void cut(void) {
  int fd = make("cut", 2 * PAGE);
  char* memory = map(fd, 2 * PAGE, 0);
  memory[0] = 'a';
  memory[20] = 'b';
  SAY(ftruncate(fd, 10));
  SAY(ftruncate(fd, 2 * PAGE));
  SHOW(fd, 0, 20);
  memory[30] = 'c';
  SAY(truncate("cut", 5));
  SAY(ftruncate(fd, 2 * PAGE));
  printf("%d\n", memory[30]);
  memory[PAGE] = 'd';
  memory[PAGE + 1] = 'e';
  SAY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, 1));
  SHOW(fd, PAGE, PAGE + 1);
  close(open("cut", O_WRONLY | O_TRUNC));
  SAY(ftruncate(fd, 2 * PAGE));
  memory[1] = 'f';
  SAY(munmap(memory, 2 * PAGE));
  SHOW(fd, 0, 1, PAGE + 1);
  close(fd);
}

static void children(void) {
  int fd = make("children", 2 * PAGE);
  char* memory = map(fd, 2 * PAGE, 0);
  memory[0] = 'a';
  fflush(stdout);
  if (fork() == 0) {
    SHOW(fd, 0);
    memory[1] = 'b';
    SAY(pwrite(fd, "c", 1, 2));
    SAY(munmap(memory, PAGE));
    char* again = map(fd, 2 * PAGE, 0);
    again[3] = 'd';
    memory[PAGE] = 'e';
    fflush(stdout);
    _exit(0);
  }
  wait(NULL);
  printf("%.4s%c\n", memory, memory[PAGE]);
  memory[4] = 'f';
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    memory[5] = 'g';
    pause();
  }
  while (((volatile char*)memory)[5] != 'g') {
  }
  kill(child, SIGKILL);
  wait(NULL);
  SAY(munmap(memory, 2 * PAGE));
  SHOW(fd, 0, 1, 2, 3, 4, 5, PAGE);
  close(fd);
}

static void sparse(void) {
  off_t size = (off_t)1 << 34;
  int fd = make("sparse", size);
  SAY(pwrite(fd, "data", 4, size / 2));
  char* memory = map(fd, (size_t)size, 0);
  printf("%.4s%d\n", memory + size / 2, memory[size / 4]);
  memory[size / 4 * 3] = 's';
  SAY(munmap(memory, (size_t)size));
  SHOW(fd, size / 4, size / 2, size / 4 * 3);
  char* mine = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
  printf("%.4s\n", mine + size / 2);
  munmap(mine, (size_t)size);
  SAY(ftruncate(fd, 0));
  close(fd);
}

int main(int count, char** arguments) {
  static const struct {
    const char* name;
    void (*run)(void);
  } parts[] = {
      {"writes beside stores", writes_beside_stores},
      {"appends", appends},
      {"reads after stores", reads_after_stores},
      {"two mappings", two_mappings},
      {"replaced", replaced},
      {"cut", cut},
      {"children", children},
      {"sparse", sparse},
  };
  if (count < 2 || chdir(arguments[count - 1]) != 0) {
    fprintf(stderr, "usage: mappings DIRECTORY\n");
    return 2;
  }
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) {
    printf("--- %s\n", parts[i].name);
    parts[i].run();
    fflush(stdout);
  }
  return 0;
}
