/* Parallel HDF5: contiguous, chunked and growing data sets, written and read by hyperslabs,
   independently and collectively; attributes and groups. */
#include <hdf5.h>

#include "check.h"

enum { kRows = 64, kColumns = 96, kSteps = 6 };

#define H5(call)                        \
  do {                                  \
    EXPECT((call) >= 0, "HDF5 failed"); \
  } while (0)

static int value(int row, int column, int step) {
  return step * 1000000 + row * 1000 + column;
}

static hid_t transfer(int collective) {
  hid_t list = H5Pcreate(H5P_DATASET_XFER);
  H5(H5Pset_dxpl_mpio(list, collective ? H5FD_MPIO_COLLECTIVE : H5FD_MPIO_INDEPENDENT));
  return list;
}

/* Reads or writes a band of `count` rows or columns from `first` on, of step `step` if that is not
   negative. */
static void band(
    hid_t set, int collective, int write, int by_columns, int first, int count, int step) {
  hsize_t start[3] = {step < 0 ? 0 : (hsize_t)step,
                      by_columns ? 0 : (hsize_t)first,
                      by_columns ? (hsize_t)first : 0};
  hsize_t size[3] = {
      1, by_columns ? kRows : (hsize_t)count, by_columns ? (hsize_t)count : kColumns};
  int dimensions = step < 0 ? 2 : 3;
  const hsize_t* from = step < 0 ? start + 1 : start;
  const hsize_t* how_many = step < 0 ? size + 1 : size;
  int data[kRows * kColumns];
  hid_t space = H5Dget_space(set);
  hid_t memory = H5Screate_simple(dimensions, how_many, NULL);
  hid_t list = transfer(collective);
  H5(H5Sselect_hyperslab(space, H5S_SELECT_SET, from, NULL, how_many, NULL));
  int total = (int)(size[1] * size[2]);
  for (int i = 0; i < total; ++i) {
    int row = (int)start[1] + i / (int)size[2];
    int column = (int)start[2] + i % (int)size[2];
    data[i] = write ? value(row, column, step) : -1;
  }
  H5(write ? H5Dwrite(set, H5T_NATIVE_INT, memory, space, list, data)
           : H5Dread(set, H5T_NATIVE_INT, memory, space, list, data));
  for (int i = 0; i < total; ++i) {
    int row = (int)start[1] + i / (int)size[2];
    int column = (int)start[2] + i % (int)size[2];
    EXPECT(data[i] == value(row, column, step), "row %d column %d: %d", row, column, data[i]);
  }
  H5(H5Pclose(list));
  H5(H5Sclose(memory));
  H5(H5Sclose(space));
}

static hid_t make_set(hid_t group, const char* name, int chunked, int steps) {
  hsize_t size[3] = {1, kRows, kColumns};
  hsize_t most[3] = {H5S_UNLIMITED, kRows, kColumns};
  hsize_t chunk[3] = {1, 16, 24};
  int dimensions = steps ? 3 : 2;
  hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  if (chunked || steps) {
    H5(H5Pset_chunk(properties, dimensions, steps ? chunk : chunk + 1));
  }
  hid_t space = steps ? H5Screate_simple(3, size, most) : H5Screate_simple(2, size + 1, NULL);
  hid_t set = H5Dcreate(group, name, H5T_NATIVE_INT, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  EXPECT(set >= 0, "no data set %s", name);
  H5(H5Sclose(space));
  H5(H5Pclose(properties));
  return set;
}

static hid_t parallel_access(void) {
  hid_t list = H5Pcreate(H5P_FILE_ACCESS);
  H5(H5Pset_fapl_mpio(list, MPI_COMM_WORLD, MPI_INFO_NULL));
  return list;
}

static void write_all(hid_t file, int collective) {
  hid_t group = H5Gcreate(
      file, collective ? "collective" : "independent", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  int rows = kRows / ranks;
  hid_t plain = make_set(group, "plain", 0, 0);
  band(plain, collective, 1, 0, rank * rows, rows, -1);
  hid_t chunked = make_set(group, "chunked", 1, 0);
  band(chunked, collective, 1, 1, rank * (kColumns / ranks), kColumns / ranks, -1);
  hid_t growing = make_set(group, "growing", 1, 1);
  for (int step = 0; step < kSteps; ++step) {
    hsize_t size[3] = {(hsize_t)step + 1, kRows, kColumns};
    H5(H5Dset_extent(growing, size));
    band(growing, collective, 1, 0, rank * rows, rows, step);
  }
  hid_t scalar = H5Screate(H5S_SCALAR);
  hid_t attribute = H5Acreate(growing, "steps", H5T_NATIVE_INT, scalar, H5P_DEFAULT, H5P_DEFAULT);
  int steps = kSteps;
  H5(H5Awrite(attribute, H5T_NATIVE_INT, &steps));
  H5(H5Aclose(attribute));
  H5(H5Sclose(scalar));
  H5(H5Dclose(plain));
  H5(H5Dclose(chunked));
  H5(H5Dclose(growing));
  H5(H5Gclose(group));
}

/* What other ranks wrote: rows become columns. */
static void read_all(hid_t file, int collective) {
  hid_t group = H5Gopen(file, collective ? "collective" : "independent", H5P_DEFAULT);
  hid_t plain = H5Dopen(group, "plain", H5P_DEFAULT);
  hid_t chunked = H5Dopen(group, "chunked", H5P_DEFAULT);
  hid_t growing = H5Dopen(group, "growing", H5P_DEFAULT);
  int rows = kRows / ranks;
  int columns = kColumns / ranks;
  int other = (rank + 1) % ranks;
  band(plain, collective, 0, 1, other * columns, columns, -1);
  band(chunked, collective, 0, 0, other * rows, rows, -1);
  for (int step = 0; step < kSteps; ++step) {
    band(growing, collective, 0, 1, other * columns, columns, step);
  }
  int steps = 0;
  hid_t attribute = H5Aopen(growing, "steps", H5P_DEFAULT);
  H5(H5Aread(attribute, H5T_NATIVE_INT, &steps));
  EXPECT(steps == kSteps, "%d steps", steps);
  H5(H5Aclose(attribute));
  H5(H5Dclose(plain));
  H5(H5Dclose(chunked));
  H5(H5Dclose(growing));
  H5(H5Gclose(group));
}

int main(int argc, char** argv) {
  begin(argc, argv);
  hid_t access = parallel_access();
  say("written");
  hid_t file = H5Fcreate(in("data.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, access);
  EXPECT(file >= 0, "not created");
  write_all(file, 0);
  write_all(file, 1);
  H5(H5Fclose(file));
  say("read");
  file = H5Fopen(in("data.h5"), H5F_ACC_RDONLY, access);
  EXPECT(file >= 0, "not opened");
  read_all(file, 0);
  read_all(file, 1);
  H5(H5Fclose(file));
  H5(H5Pclose(access));
  if (rank == 0) {
    access = H5P_DEFAULT;
    file = H5Fopen(in("data.h5"), H5F_ACC_RDONLY, access);
    EXPECT(file >= 0, "not opened by one rank");
    H5(H5Fclose(file));
  }
  say("done");
  return MPI_Finalize();
}
