"""What unmodified programs get: the preload library beside the C API, and the mount beside libfuse's
passthrough_ll over tmpfs, which the variable PASSTHROUGH_LL names. Used by bench_set.py."""

import contextlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import time

from bench_common import BIN, Cluster, Row, Series, run

PATH_BENCH = BIN.parent / "bench" / "path_bench"
SHM = "/dev/shm"
TREE_FILES, TREE_DIRECTORIES = 9_000, 90
THREADS = ("--files", "0", "--bytes", str(256 << 20), "--threads", "2,64")  # in as many bytes
CATS = 1000


def path_bench(directory, *arguments, env=None, launcher=()):
    return json.loads(run([*launcher, PATH_BENCH, *arguments, directory], env))


def row_of_rates(series, name, ours, reference, least):
    ratio = series.median(f"{ours}, {name}") / series.median(f"{reference}, {name}")
    unit = "MiB/s" if "MiB" in name else "/s"
    return Row(f"{ours}: {name}, {unit}", series.text(f"{ours}, {name}", 0),
               f"{reference}: {series.text(f'{reference}, {name}', 0)}", f"{ratio:.2f}",
               f"at least {least}", ratio >= least)


def row_of_times(series, name, ours, reference, most_more_us):
    key = f"{name}, p50 us"
    more = series.median(f"{ours}, {key}") - series.median(f"{reference}, {key}")
    return Row(f"{ours}: {name}, p50 in us", series.text(f"{ours}, {key}"),
               f"{reference}: {series.text(f'{reference}, {key}')}", None,
               f"at most {most_more_us} more", more <= most_more_us)


def row_of_threads(series, door):
    many, few = (f"{door}, {n} threads" for n in (64, 2))
    ratio = series.median(many) / series.median(few)
    return Row(f"{door}: 64 threads, 4 KiB at random, operations/s", series.text(many, 0),
               f"2 threads: {series.text(few, 0)}", f"{ratio:.2f}", "at least 1.0", ratio >= 1)


def add_all(series, door, results):
    for name, value in results.items():
        series.add(f"{door}, {name}", value)


def measure_preload(stack, rounds, progress):
    """The same program through the C API and under `benchfs run`."""
    cluster = stack.enter_context(Cluster(1))
    run([BIN / "benchfs", "mkdir", "bfs:/d"], cluster.env)
    series = Series()
    for _ in progress(rounds):
        for more in ((), THREADS):
            add_all(series, "C API", path_bench("/d", "--api", *more, env=cluster.env))
            add_all(series, "preload", path_bench("/bfs/d", *more, env=cluster.env,
                                                  launcher=(BIN / "benchfs", "run", "--")))
    rows = [row_of_rates(series, f"{way} {size} MiB", "preload", "C API", 0.95)
            for size in (1, 4) for way in ("write", "read")]
    rows += [row_of_rates(series, name, "preload", "C API", 0.85)
             for name in ("random read 4 KiB", "stat", "unlink")]
    rows += [row_of_times(series, name, "preload", "C API", 0.8)
             for name in ("open+close", "create+close")]
    return series, rows + [row_of_threads(series, door) for door in ("C API", "preload")]


@contextlib.contextmanager
def mounted(cluster):
    """BenchFS on a directory of its own."""
    point = tempfile.mkdtemp(prefix="benchfs-bench.")
    try:
        run([BIN / "benchfs", "mount", point], cluster.env)
        try:
            yield point
        finally:
            run([BIN / "benchfs", "umount", point], cluster.env)
    finally:
        os.rmdir(point)


@contextlib.contextmanager
def passed_through():
    """tmpfs through passthrough_ll; None where there is no such program."""
    program = os.environ.get("PASSTHROUGH_LL")
    if not program:
        yield None
        return
    point = tempfile.mkdtemp(prefix="benchfs-bench.")
    below = tempfile.mkdtemp(prefix="benchfs-bench.", dir=SHM)
    try:
        # It keeps a descriptor for each file that the kernel knows.
        run(["bash", "-c", 'ulimit -n "$(ulimit -Hn)"; exec "$@"', "bash", program, "-o",
             f"source={below}", "-o", "cache=auto", point])
        try:
            yield point
        finally:
            run(["fusermount3", "-u", point])
    finally:
        os.rmdir(point)
        shutil.rmtree(below)


def measure_mount(stack, rounds, progress):
    cluster = stack.enter_context(Cluster(1))
    series = Series()
    for _ in progress(rounds):
        with mounted(cluster) as ours, passed_through() as theirs:
            for more in ((), THREADS):
                add_all(series, "mount", path_bench(ours, *more))
                if theirs:
                    add_all(series, "passthrough_ll", path_bench(theirs, *more))
    rows = [row_of_threads(series, "mount")]
    if "passthrough_ll, stat" in series.values:
        rows = [row_of_rates(series, f"{way} 1 MiB", "mount", "passthrough_ll", 0.9)
                for way in ("write", "read")] + \
               [row_of_rates(series, name, "mount", "passthrough_ll", 0.8)
                for name in ("create+close", "stat", "unlink")] + rows
    return series, rows


def write_archive(path):
    with tarfile.open(path, "w") as archive:
        for directory in range(TREE_DIRECTORIES):
            member = tarfile.TarInfo(f"tree/{directory}")
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
            for number in range(TREE_FILES // TREE_DIRECTORIES):
                member = tarfile.TarInfo(f"tree/{directory}/{number}")
                member.size, member.mode = 1024, 0o644
                archive.addfile(member, io.BytesIO(os.urandom(member.size)))


def measure_trees(stack, rounds, progress):
    """Small files, by the programs that people use."""
    directory = pathlib.Path(stack.enter_context(
        tempfile.TemporaryDirectory(prefix="benchfs-bench.", dir=SHM)))
    archive = directory / "archive.tar"
    write_archive(archive)
    commands = {"tar x": f"tar xf {archive}", "ls -lR": "ls -lR tree",
                "git add": "git init -q tree && git -C tree add -A",
                "git status": "git -C tree status", "tar c": "tar cf - tree | cat",
                "rm -r": "rm -rf tree"}
    cluster = stack.enter_context(Cluster(1))
    series = Series()
    for _ in progress(rounds):
        with mounted(cluster) as ours, passed_through() as theirs:
            for name, place in (("mount", ours), ("passthrough_ll", theirs), ("tmpfs", directory)):
                for what, command in commands.items() if place else ():
                    begin = time.monotonic()
                    run(["bash", "-c", f"cd {place} && {command} > /dev/null"])
                    series.add(f"{name}, {what}", (time.monotonic() - begin) * 1000)
    rows = []
    for what in commands:
        ours, theirs = f"mount, {what}", f"passthrough_ll, {what}"
        tmpfs = f"tmpfs: {series.text(f'tmpfs, {what}', 0)}"
        if theirs in series.values:
            ratio = series.median(ours) / series.median(theirs)
            rows.append(Row(f"mount: {what}, {TREE_FILES} files, ms", series.text(ours, 0),
                            f"passthrough_ll: {series.text(theirs, 0)}; {tmpfs}", f"{ratio:.2f}",
                            "at most 1.5", ratio <= 1.5))
        else:
            rows.append(Row(f"mount: {what}, {TREE_FILES} files, ms", series.text(ours, 0), tmpfs))
    return series, rows


def seconds_of(command, env=None):
    begin = time.monotonic()
    subprocess.run(command, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL,
                   check=True)
    return time.monotonic() - begin


def measure_programs(stack, rounds, progress):
    """Programs that are started, many one after another."""
    cluster = stack.enter_context(Cluster(1))
    local = pathlib.Path(stack.enter_context(
        tempfile.TemporaryDirectory(prefix="benchfs-bench.", dir=SHM)))
    (local / "file").write_text("small\n", encoding="utf-8")
    run([BIN / "benchfs", "cp", local / "file", "bfs:/file"], cluster.env)
    launcher = [BIN / "benchfs", "run", "--"]
    cats = "for ((i = 0; i < {}; ++i)); do cat {}; done"
    series = Series()
    for _ in progress(rounds):
        for _ in range(50):
            series.add("true", seconds_of(["/bin/true"]) * 1000)
            series.add("run true", seconds_of([*launcher, "/bin/true"], cluster.env) * 1000)
            series.add("ls", seconds_of(["ls", local]) * 1000)
            series.add("run ls", seconds_of([*launcher, "ls", "/bfs"], cluster.env) * 1000)
        series.add("cats", seconds_of(["bash", "-c", cats.format(CATS, local / "file")]))
        series.add("run cats", seconds_of(
            [*launcher, "bash", "-c", cats.format(CATS, "/bfs/file")], cluster.env))
    rows = []
    for what, ours, reference, more in (("benchfs run -- /bin/true, ms", "run true", "true", 1),
                                        ("benchfs run -- ls /bfs, ms", "run ls", "ls", 5)):
        difference = series.median(ours) - series.median(reference)
        rows.append(Row(what, series.text(ours), f"alone: {series.text(reference)}", None,
                        f"at most {more} more", difference <= more))
    ratio = series.median("run cats") / series.median("cats")
    rows.append(Row(f"{CATS} times cat of a small file, s", series.text("run cats"),
                    f"tmpfs: {series.text('cats')}", f"{ratio:.2f}", "at most 2.0", ratio <= 2))
    return series, rows


MEASUREMENTS = {"preload": measure_preload, "mount": measure_mount, "trees": measure_trees,
                "programs": measure_programs}
