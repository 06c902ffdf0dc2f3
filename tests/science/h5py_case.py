"""h5py, serial and parallel: data sets, chunks, compression, attributes, growth; written, read, verified."""
import os
import sys

import h5py
import numpy

directory = sys.argv[1]
parallel = os.environ.get("OMPI_COMM_WORLD_SIZE") is not None


def serial():
    path = f"{directory}/serial.h5"
    numbers = numpy.arange(200_000, dtype="i8").reshape(400, 500)
    with h5py.File(path, "w") as file:
        file["plain"] = numbers
        file.create_dataset("packed", data=numbers, chunks=(50, 50), compression="gzip")
        file["plain"].attrs["unit"] = "kelvin"
        file.create_dataset("growing", (0,), maxshape=(None,), dtype="f8", chunks=(100,))
    for step in range(5):
        with h5py.File(path, "a") as file:
            growing = file["growing"]
            growing.resize((growing.shape[0] + 1000,))
            growing[-1000:] = step
    with h5py.File(path, "r") as file:
        assert (file["plain"][:] == numbers).all() and (file["packed"][10:300:7, ::3] == numbers[10:300:7, ::3]).all()
        assert file["plain"].attrs["unit"] == "kelvin"
        assert file["growing"].shape == (5000,) and (file["growing"][::1000] == range(5)).all()
        print(sorted(file), os.path.exists(path))
    try:
        h5py.File(path, "x")
    except OSError as problem:
        print("not created again:", "File exists" in str(problem) or "unable to create" in str(problem).lower())


def with_ranks():
    from mpi4py import MPI
    communicator = MPI.COMM_WORLD
    rank, ranks = communicator.rank, communicator.size
    path = f"{directory}/parallel.h5"
    with h5py.File(path, "w", driver="mpio", comm=communicator) as file:
        data = file.create_dataset("data", (ranks * 100, 300), dtype="i8", chunks=(50, 100))
        with data.collective:
            data[rank * 100:(rank + 1) * 100] = rank
        columns = file.create_dataset("columns", (120, ranks), dtype="f8")
        columns[:, rank] = numpy.arange(120) * (rank + 1)
    communicator.barrier()
    with h5py.File(path, "r", driver="mpio", comm=communicator) as file:
        other = (rank + 1) % ranks
        assert (file["data"][other * 100:(other + 1) * 100] == other).all()
        assert (file["columns"][:, other] == numpy.arange(120) * (other + 1)).all()
    communicator.barrier()
    if rank == 0:
        print("parallel, done")


if parallel:
    with_ranks()
else:
    serial()
