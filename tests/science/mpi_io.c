/* MPI-IO: independent and collective I/O, file views, atomic mode, shared file pointers. */
#include "check.h"

enum {
  kBlock = 37 * 1024 / 4,
  kBlocks = 5,
  kRows = 48,
  kColumns = 64,
  kRecords = 25,
  kRounds = 12
};

static int value(int writer, int block, int at) {
  return writer * 100000000 + block * 1000000 + at;
}

static MPI_File open_file(const char* name, int mode) {
  MPI_File file;
  MPI_OK(MPI_File_open(MPI_COMM_WORLD, in(name), mode, MPI_INFO_NULL, &file));
  return file;
}

static void fill(int* data, int writer, int block) {
  for (int i = 0; i < kBlock; ++i) {
    data[i] = value(writer, block, i);
  }
}

static void expect_block(const int* data, int writer, int block) {
  for (int i = 0; i < kBlock; ++i) {
    EXPECT(data[i] == value(writer, block, i),
           "block %d of rank %d, place %d: %d",
           block,
           writer,
           i,
           data[i]);
  }
}

/* By all ranks, before any of them goes on. */
static void expect_size(MPI_File file, long long wanted) {
  MPI_Offset size = -1;
  MPI_OK(MPI_File_get_size(file, &size));
  EXPECT(size == wanted, "%lld instead of %lld bytes", (long long)size, wanted);
  MPI_Barrier(MPI_COMM_WORLD);
}

/* Blocks of all ranks in turns; each rank reads those of the next one. */
static void blocks(const char* name, int collective) {
  int data[kBlock];
  MPI_Status status;
  int count = 0;
  MPI_File file = open_file(name, MPI_MODE_CREATE | MPI_MODE_RDWR);
  for (int block = 0; block < kBlocks; ++block) {
    MPI_Offset at = (MPI_Offset)(block * ranks + rank) * kBlock * 4;
    fill(data, rank, block);
    MPI_OK(collective ? MPI_File_write_at_all(file, at, data, kBlock, MPI_INT, &status)
                      : MPI_File_write_at(file, at, data, kBlock, MPI_INT, &status));
    MPI_Get_count(&status, MPI_INT, &count);
    EXPECT(count == kBlock, "%d written", count);
  }
  MPI_OK(MPI_File_sync(file));
  MPI_Barrier(MPI_COMM_WORLD);
  expect_size(file, 4LL * kBlock * kBlocks * ranks);
  int writer = (rank + 1) % ranks;
  for (int block = 0; block < kBlocks; ++block) {
    MPI_Offset at = (MPI_Offset)(block * ranks + writer) * kBlock * 4;
    memset(data, 0xff, sizeof data);
    MPI_OK(collective ? MPI_File_read_at_all(file, at, data, kBlock, MPI_INT, &status)
                      : MPI_File_read_at(file, at, data, kBlock, MPI_INT, &status));
    MPI_Get_count(&status, MPI_INT, &count);
    EXPECT(count == kBlock, "%d read", count);
    expect_block(data, writer, block);
  }
  MPI_OK(MPI_File_close(&file));
}

static void nonblocking(void) {
  int out[2][kBlock];
  int back[2][kBlock];
  MPI_Request requests[2];
  MPI_File file = open_file("nonblocking", MPI_MODE_CREATE | MPI_MODE_RDWR);
  for (int block = 0; block < 2; ++block) {
    fill(out[block], rank, block);
    MPI_OK(MPI_File_iwrite_at(file,
                              (MPI_Offset)(block * ranks + rank) * kBlock * 4,
                              out[block],
                              kBlock,
                              MPI_INT,
                              &requests[block]));
  }
  MPI_OK(MPI_Waitall(2, requests, MPI_STATUSES_IGNORE));
  MPI_OK(MPI_File_sync(file));
  MPI_Barrier(MPI_COMM_WORLD);
  int writer = (rank + 1) % ranks;
  for (int block = 0; block < 2; ++block) {
    MPI_OK(MPI_File_iread_at(file,
                             (MPI_Offset)(block * ranks + writer) * kBlock * 4,
                             back[block],
                             kBlock,
                             MPI_INT,
                             &requests[block]));
  }
  MPI_OK(MPI_Waitall(2, requests, MPI_STATUSES_IGNORE));
  expect_block(back[0], writer, 0);
  expect_block(back[1], writer, 1);
  MPI_OK(MPI_File_close(&file));
}

/* A matrix by columns, written and read through views; then as a whole. */
static void views(int collective) {
  MPI_Datatype columns;
  int sizes[2] = {kRows, kColumns};
  int width = kColumns / ranks;
  int parts[2] = {kRows, width};
  int starts[2] = {0, rank * width};
  int mine[kRows * kColumns];
  int whole[kRows * kColumns];
  MPI_File file = open_file(collective ? "view-all" : "view", MPI_MODE_CREATE | MPI_MODE_RDWR);
  MPI_Type_create_subarray(2, sizes, parts, starts, MPI_ORDER_C, MPI_INT, &columns);
  MPI_Type_commit(&columns);
  MPI_OK(MPI_File_set_view(file, 0, MPI_INT, columns, "native", MPI_INFO_NULL));
  for (int i = 0; i < kRows * width; ++i) {
    mine[i] = value(rank, i / width, i % width);
  }
  MPI_OK(collective ? MPI_File_write_all(file, mine, kRows * width, MPI_INT, MPI_STATUS_IGNORE)
                    : MPI_File_write(file, mine, kRows * width, MPI_INT, MPI_STATUS_IGNORE));
  MPI_OK(MPI_File_sync(file));
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_OK(MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
  MPI_OK(MPI_File_read_at_all(file, 0, whole, kRows * kColumns, MPI_INT, MPI_STATUS_IGNORE));
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < width * ranks; ++column) {
      int found = whole[row * kColumns + column];
      EXPECT(found == value(column / width, row, column % width),
             "row %d column %d: %d",
             row,
             column,
             found);
    }
  }
  expect_size(file, 4LL * kRows * kColumns);
  /* The columns of the next rank, through a view. */
  MPI_Datatype others;
  starts[1] = (rank + 1) % ranks * width;
  MPI_Type_create_subarray(2, sizes, parts, starts, MPI_ORDER_C, MPI_INT, &others);
  MPI_Type_commit(&others);
  MPI_OK(MPI_File_set_view(file, 0, MPI_INT, others, "native", MPI_INFO_NULL));
  MPI_OK(collective ? MPI_File_read_all(file, mine, kRows * width, MPI_INT, MPI_STATUS_IGNORE)
                    : MPI_File_read(file, mine, kRows * width, MPI_INT, MPI_STATUS_IGNORE));
  for (int i = 0; i < kRows * width; ++i) {
    EXPECT(mine[i] == value((rank + 1) % ranks, i / width, i % width), "place %d: %d", i, mine[i]);
  }
  MPI_Type_free(&columns);
  MPI_Type_free(&others);
  MPI_OK(MPI_File_close(&file));
}

/* All ranks write one block at the same time, and read it: in atomic mode each sees the whole of
   one write. */
static void atomic_mode(void) {
  int data[kBlock];
  MPI_File file = open_file("atomic", MPI_MODE_CREATE | MPI_MODE_RDWR);
  int error = MPI_File_set_atomicity(file, 1);
  int flag = 0;
  if (error == MPI_SUCCESS) {
    MPI_OK(MPI_File_get_atomicity(file, &flag));
  }
  say(flag ? "atomic mode" : "no atomic mode");
  for (int round = 0; flag && round < kRounds; ++round) {
    fill(data, rank, round);
    MPI_OK(MPI_File_write_at(file, 0, data, kBlock, MPI_INT, MPI_STATUS_IGNORE));
    MPI_OK(MPI_File_read_at(file, 0, data, kBlock, MPI_INT, MPI_STATUS_IGNORE));
    int writer = data[0] / 100000000;
    int block = data[0] / 1000000 % 100;
    EXPECT(block >= round - 1, "round %d: an old block, %d", round, block);
    expect_block(data, writer, block);
    MPI_Barrier(MPI_COMM_WORLD);
  }
  MPI_OK(MPI_File_close(&file));
}

/* Records that go where the shared pointer is: each exactly once, in order where that is asked. */
static void shared_pointer(void) {
  int seen[16][kRecords] = {{0}};
  int record[2];
  MPI_File file = open_file("shared", MPI_MODE_CREATE | MPI_MODE_RDWR);
  MPI_OK(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
  for (int i = 0; i < kRecords; ++i) {
    record[0] = rank;
    record[1] = i;
    MPI_OK(MPI_File_write_shared(file, record, 2, MPI_INT, MPI_STATUS_IGNORE));
  }
  MPI_OK(MPI_File_sync(file));
  MPI_Barrier(MPI_COMM_WORLD);
  expect_size(file, 8LL * kRecords * ranks);
  MPI_OK(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
  for (int i = 0; i < kRecords; ++i) {
    MPI_OK(MPI_File_read_shared(file, record, 2, MPI_INT, MPI_STATUS_IGNORE));
    EXPECT(record[0] >= 0 && record[0] < ranks && record[1] >= 0 && record[1] < kRecords,
           "record %d of rank %d",
           record[1],
           record[0]);
    ++seen[record[0]][record[1]];
  }
  MPI_Allreduce(MPI_IN_PLACE, seen, 16 * kRecords, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  for (int writer = 0; writer < ranks; ++writer) {
    for (int i = 0; i < kRecords; ++i) {
      EXPECT(seen[writer][i] == 1, "record %d of rank %d: %d times", i, writer, seen[writer][i]);
    }
  }
  say("shared pointer, in order");
  MPI_OK(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
  for (int i = 0; i < 4; ++i) {
    record[0] = rank;
    record[1] = i;
    MPI_OK(MPI_File_write_ordered(file, record, 2, MPI_INT, MPI_STATUS_IGNORE));
  }
  MPI_OK(MPI_File_sync(file));
  MPI_Barrier(MPI_COMM_WORLD);
  for (int i = 0; i < 4 * ranks; ++i) {
    MPI_OK(MPI_File_read_at(file, 2 * 4 * i, record, 2, MPI_INT, MPI_STATUS_IGNORE));
    EXPECT(record[0] == i % ranks && record[1] == i / ranks,
           "place %d: record %d of rank %d",
           i,
           record[1],
           record[0]);
  }
  MPI_OK(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
  MPI_OK(MPI_File_read_ordered(file, record, 2, MPI_INT, MPI_STATUS_IGNORE));
  EXPECT(record[0] == rank && record[1] == 0, "record %d of rank %d", record[1], record[0]);
  MPI_OK(MPI_File_close(&file));
}

static void sizes_and_modes(void) {
  char text[8] = "";
  MPI_File file = open_file("sizes", MPI_MODE_CREATE | MPI_MODE_RDWR);
  MPI_OK(MPI_File_set_size(file, 100000));
  expect_size(file, 100000);
  MPI_OK(MPI_File_preallocate(file, 300000));
  expect_size(file, 300000);
  MPI_OK(MPI_File_set_size(file, 10));
  expect_size(file, 10);
  MPI_OK(MPI_File_close(&file));
  int error = MPI_File_open(MPI_COMM_WORLD,
                            in("sizes"),
                            MPI_MODE_CREATE | MPI_MODE_EXCL | MPI_MODE_RDWR,
                            MPI_INFO_NULL,
                            &file);
  EXPECT(error != MPI_SUCCESS, "a file that is there was created");
  error = MPI_File_open(MPI_COMM_WORLD, in("none"), MPI_MODE_RDONLY, MPI_INFO_NULL, &file);
  EXPECT(error != MPI_SUCCESS, "a file that is not there was opened");
  file = open_file("sizes", MPI_MODE_WRONLY | MPI_MODE_APPEND);
  MPI_Offset at = -1;
  MPI_OK(MPI_File_get_position(file, &at));
  EXPECT(at == 10, "position %lld", (long long)at);
  MPI_OK(MPI_File_write_at_all(file, 10 + rank, "x", 1, MPI_CHAR, MPI_STATUS_IGNORE));
  MPI_OK(MPI_File_close(&file));
  file = open_file("sizes", MPI_MODE_RDONLY | MPI_MODE_DELETE_ON_CLOSE);
  expect_size(file, 10 + ranks);
  MPI_OK(MPI_File_read_at_all(file, 9, text, 2, MPI_CHAR, MPI_STATUS_IGNORE));
  EXPECT(text[0] == 0 && text[1] == 'x', "%d %d", text[0], text[1]);
  MPI_OK(MPI_File_close(&file));
  error = MPI_File_open(MPI_COMM_WORLD, in("sizes"), MPI_MODE_RDONLY, MPI_INFO_NULL, &file);
  EXPECT(error != MPI_SUCCESS, "it was not deleted");
  if (rank == 0) {
    MPI_OK(MPI_File_delete(in("shared"), MPI_INFO_NULL));
  }
}

int main(int argc, char** argv) {
  begin(argc, argv);
  say("independent");
  blocks("independent", 0);
  say("collective");
  blocks("collective", 1);
  say("nonblocking");
  nonblocking();
  say("views");
  views(0);
  say("views, collective");
  views(1);
  atomic_mode();
  say("shared pointer");
  shared_pointer();
  say("sizes and modes");
  sizes_and_modes();
  say("done");
  return MPI_Finalize();
}
