/* PnetCDF: a fixed and a record variable, written and read collectively and independently. */
#include <pnetcdf.h>

#include "check.h"

enum { kRows = 40, kColumns = 60, kTimes = 5 };

#define NC(call)                                                      \
  do {                                                                \
    int error_ = (call);                                              \
    EXPECT(error_ == NC_NOERR, #call ": %s", ncmpi_strerror(error_)); \
  } while (0)

static double value(int time, MPI_Offset row, MPI_Offset column) {
  return time * 10000.0 + (double)row * 100 + (double)column;
}

static void fill(double* data, int time, const MPI_Offset* start, const MPI_Offset* count) {
  for (MPI_Offset i = 0; i < count[0] * count[1]; ++i) {
    data[i] = value(time, start[0] + i / count[1], start[1] + i % count[1]);
  }
}

static void expect(const double* data, int time, const MPI_Offset* start, const MPI_Offset* count) {
  for (MPI_Offset i = 0; i < count[0] * count[1]; ++i) {
    double wanted = value(time, start[0] + i / count[1], start[1] + i % count[1]);
    EXPECT(data[i] == wanted, "time %d place %d: %g, not %g", time, (int)i, data[i], wanted);
  }
}

int main(int argc, char** argv) {
  begin(argc, argv);
  int file, dimensions[3], fixed, record;
  double data[kRows * kColumns];
  say("written");
  NC(ncmpi_create(MPI_COMM_WORLD, in("data.nc"), NC_CLOBBER | NC_64BIT_DATA, MPI_INFO_NULL, &file));
  NC(ncmpi_def_dim(file, "time", NC_UNLIMITED, &dimensions[0]));
  NC(ncmpi_def_dim(file, "row", kRows, &dimensions[1]));
  NC(ncmpi_def_dim(file, "column", kColumns, &dimensions[2]));
  NC(ncmpi_def_var(file, "fixed", NC_DOUBLE, 2, dimensions + 1, &fixed));
  NC(ncmpi_def_var(file, "record", NC_DOUBLE, 3, dimensions, &record));
  NC(ncmpi_put_att_text(file, record, "unit", 6, "kelvin"));
  NC(ncmpi_enddef(file));
  MPI_Offset rows[2] = {kRows / ranks, kColumns};
  MPI_Offset columns[2] = {kRows, kColumns / ranks};
  MPI_Offset start[2] = {rank * rows[0], 0};
  fill(data, 0, start, rows);
  NC(ncmpi_put_vara_double_all(file, fixed, start, rows, data));
  for (int time = 0; time < kTimes; ++time) {
    MPI_Offset from[3] = {time, 0, rank * columns[1]};
    MPI_Offset count[3] = {1, columns[0], columns[1]};
    fill(data, time, from + 1, columns);
    if (time % 2 == 0) {
      NC(ncmpi_put_vara_double_all(file, record, from, count, data));
    } else {
      NC(ncmpi_begin_indep_data(file));
      NC(ncmpi_put_vara_double(file, record, from, count, data));
      NC(ncmpi_end_indep_data(file));
    }
  }
  NC(ncmpi_close(file));
  say("read");
  NC(ncmpi_open(MPI_COMM_WORLD, in("data.nc"), NC_NOWRITE, MPI_INFO_NULL, &file));
  char unit[8] = "";
  NC(ncmpi_inq_varid(file, "fixed", &fixed));
  NC(ncmpi_inq_varid(file, "record", &record));
  NC(ncmpi_get_att_text(file, record, "unit", unit));
  EXPECT(strcmp(unit, "kelvin") == 0, "unit %s", unit);
  MPI_Offset times = 0;
  NC(ncmpi_inq_dimlen(file, 0, &times));
  EXPECT(times == kTimes, "%d times", (int)times);
  int other = (rank + 1) % ranks;
  start[0] = 0;
  start[1] = other * columns[1];
  NC(ncmpi_get_vara_double_all(file, fixed, start, columns, data));
  expect(data, 0, start, columns);
  NC(ncmpi_begin_indep_data(file));
  for (int time = 0; time < kTimes; ++time) {
    MPI_Offset from[3] = {time, other * rows[0], 0};
    MPI_Offset count[3] = {1, rows[0], rows[1]};
    NC(ncmpi_get_vara_double(file, record, from, count, data));
    expect(data, time, from + 1, rows);
  }
  NC(ncmpi_end_indep_data(file));
  NC(ncmpi_close(file));
  say("done");
  return MPI_Finalize();
}
