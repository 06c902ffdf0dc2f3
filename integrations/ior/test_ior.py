#!/usr/bin/python3
"""Runs IOR, mdtest and md-workbench with verification against a cluster whose servers have hosts of
their own.

    ./run test-ior --ior PATH     with the IOR source tree at PATH: BENCHFS is registered there
                                  (integrations/ior/install) and IOR is built if it has to be
    ./run test-ior --ior PATH --through mount
                                  through `benchfs mount`, with the back ends that IOR has for every
                                  file system: POSIX, and MPIIO, HDF5, NCMPI, MMAP, AIO if it has them;
                                  --through preload: the same through `benchfs run`
    ./run test-ior                without IOR: `benchfs bench io` and `benchfs bench md` in the
                                  same shapes

The servers run in network namespaces on this machine, so this needs root. Clients and servers talk
over tcp. Exit status: 0 everything passed, 1 something failed, 77 this machine cannot run it.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import hosts

ROOT = pathlib.Path(__file__).resolve().parents[2]
INSTALL = pathlib.Path(__file__).resolve().with_name("install")
EXIT_SKIPPED = 77
READY_LIMIT_S = 60
CASE_LIMIT_S = 600
HARD_BYTES = 47008
SMALL_BYTES = 3901
DIE_WITH_US = ("setpriv", "--pdeathsig", "TERM")  # also when this process is killed
# Two processes of one machine: they shall not find that out.
TRANSPORTS = {"UCX_TLS": "tcp,self", "BENCHFS_TRANSPORT": "ucx"}
OPEN_MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self,vader",
            "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
            "OMPI_MCA_mpi_yield_when_idle": "1"}


class Failed(Exception):
    pass


# --- The cluster ----------------------------------------------------------------------------------


class Cluster:
    """One daemon on each server host; a context manager."""

    def __init__(self, network, programs, engine, directory):
        self.network, self.programs, self.engine = network, programs, engine
        self.registry = directory / "registry"
        self.data = directory / "data"
        self.daemons = []

    def __enter__(self):
        self.registry.mkdir(mode=0o700)
        try:
            for number, host in enumerate(self.network.servers):
                self._start(number, host)
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, number, host):
        command = [*DIE_WITH_US, self.programs / "benchfsd", "--node-id", f"node_{number}",
                   "--registry-dir", self.registry, "--expected-servers",
                   len(self.network.servers), "--listen", host.address, "--set",
                   f"network.devices={host.device}", "--engine", self.engine]
        if self.engine == "file":
            command += ["--data-dir", self.data / str(number)]
        log = open(self.registry / f"node_{number}.log", "wb")
        self.daemons.append(subprocess.Popen(
            host.command(command), env={**os.environ, **TRANSPORTS}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log))
        log.close()

    def _wait(self):
        deadline = time.monotonic() + READY_LIMIT_S
        while True:
            try:
                self.run([self.programs / "benchfs", "status", "--timeout", "10"], READY_LIMIT_S)
                return
            except Failed as problem:
                if time.monotonic() > deadline:
                    logs = "".join(log.read_text() for log in self.registry.glob("node_*.log"))
                    raise Failed(f"the cluster is not ready: {problem}\n{logs[-4000:]}") from None
                time.sleep(0.2)

    def run(self, command, limit=CASE_LIMIT_S, cwd=None):
        """Output of a command on the client host; it must succeed."""
        environment = {**os.environ, **TRANSPORTS, **OPEN_MPI,
                       "UCX_NET_DEVICES": self.network.client.device,
                       "BENCHFS_REGISTRY_DIR": str(self.registry)}
        words = [str(word) for word in command]
        process = subprocess.Popen(self.network.client.command([*DIE_WITH_US, *words]), env=environment, cwd=cwd,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            output, _ = process.communicate(timeout=limit)
        except BaseException as problem:
            process.terminate()  # mpirun ends its ranks
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if isinstance(problem, subprocess.TimeoutExpired):
                raise Failed(f"{' '.join(words)}: no end after {limit} s") from None
            raise
        if process.returncode != 0:
            raise Failed(f"{' '.join(words)}: exit status {process.returncode}\n{output[-4000:]}")
        return output

    @contextlib.contextmanager
    def mounted(self, directory):
        """`benchfs mount` on the client host."""
        directory.mkdir()
        program = self.programs / "benchfs"
        self.run([program, "mount", "--log", directory.with_suffix(".log"), directory], READY_LIMIT_S)
        try:
            yield directory
        finally:
            self.run([program, "umount", directory], READY_LIMIT_S)

    def __exit__(self, *_):
        for daemon in self.daemons:
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


# --- IOR ------------------------------------------------------------------------------------------


def run_here(command, cwd, environment=None):
    done = subprocess.run(list(map(str, command)), cwd=cwd, env={**os.environ, **(environment or {})},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))} in {cwd}: exit status {done.returncode}\n"
                     f"{done.stdout[-4000:]}")
    return done.stdout


def backends_of(tree):
    """The APIs that this IOR has been built with."""
    program = tree / "src" / "ior"
    if not program.is_file():
        return set()
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=False,
                          env={**os.environ, **OPEN_MPI})
    found = re.search(r"API for I/O +\[([^]]*)\]", done.stdout + done.stderr)
    return set(found.group(1).split("|")) if found else set()


def has_backend(tree):
    return "BENCHFS" in backends_of(tree)


def configure(tree, environment=None):
    for tool in ("autoconf", "automake", "pkg-config", "mpicc"):
        if shutil.which(tool) is None:
            raise Failed(f"{tool} is missing; tools/install-deps.sh build ior installs it")
    print(f"configuring IOR in {tree}", file=sys.stderr)
    run_here(["./bootstrap"], tree)
    run_here(["./configure"], tree, environment)


def build_ior(tree):
    """Builds what is not up to date, as it is."""
    if not (tree / "Makefile").is_file():
        configure(tree)
    run_here(["make", f"-j{os.cpu_count()}"], tree)


def build_ior_with_backend(tree, build):
    """Registers the back end in the tree and builds what is not up to date."""
    prefix = build / "ior" / "prefix"
    run_here(["cmake", "--install", build, "--component", "capi", "--prefix", prefix], ROOT)
    package = next(prefix.rglob("benchfs.pc")).parent
    packages = ":".join(filter(None, [str(package), os.environ.get("PKG_CONFIG_PATH")]))
    print(run_here([INSTALL, tree], ROOT).splitlines()[0], file=sys.stderr)
    if not has_backend(tree):
        configure(tree, {"PKG_CONFIG_PATH": packages})
    run_here(["make", f"-j{os.cpu_count()}"], tree)
    if not has_backend(tree):
        raise Failed(f"{tree}/src/ior was built without BENCHFS; see {tree}/config.log")


def describe_tree(tree):
    version = re.search(r"^Version:\s*(\S+)", (tree / "META").read_text(), re.MULTILINE).group(1)
    done = subprocess.run(["git", "-C", tree, "rev-parse", "--short", "HEAD"], capture_output=True,
                          text=True, check=False)
    top = subprocess.run(["git", "-C", tree, "rev-parse", "--show-toplevel"], capture_output=True,
                         text=True, check=False)
    is_own = done.returncode == 0 and pathlib.Path(top.stdout.strip()) == tree
    return f"IOR {version}" + (f", commit {done.stdout.strip()}" if is_own else "")


# A warning of these programs means that something was not done as asked, with few exceptions.
COMPLAINT = re.compile(r"^.*(?:WARNING|ERROR|Incorrect data|FAILED comparison).*$", re.MULTILINE)
HARMLESS = re.compile("Read bytes is 0, thus, a read test will actually just open/close|"
                      "File write only not implemented in NCMPI|"
                      "assuming POSIX-based backend for MMAP")


def check_output(output):
    for complaint in COMPLAINT.findall(output):
        if not HARMLESS.search(complaint):
            raise Failed(f"it complains: {complaint.strip()}\n{output[-4000:]}")


class Ior:
    """The programs of an IOR source tree, on files below `root`."""

    def __init__(self, tree, cluster, ranks, scratch, backend="BENCHFS", root="", launcher=()):
        self.tree, self.cluster, self.ranks, self.scratch = tree, cluster, ranks, scratch
        self.backend, self.root, self.launcher = backend, root, launcher

    def using(self, backend):
        return Ior(self.tree, self.cluster, self.ranks, self.scratch, backend, self.root, self.launcher)

    def _run(self, program, arguments):
        words = [f"{self.root}{word}" if str(word).startswith("/") else word for word in arguments]
        output = self.cluster.run(["mpirun", "-np", self.ranks, *self.launcher,
                                   self.tree / "src" / program, "-a", self.backend, *words],
                                  cwd=self.scratch)
        check_output(output)
        return output

    def ior(self, *arguments):
        report = self.scratch / "ior.json"
        report.unlink(missing_ok=True)
        self._run("ior", [*arguments, "-O", "summaryFormat=JSON", "-O", f"summaryFile={report}"])
        results = json.loads(report.read_text())
        return [(row["operation"], row["bwMeanMIB"], "MiB/s") for row in results["summary"]]

    def mdtest(self, *arguments):
        output = self._run("mdtest", arguments)
        rates = re.findall(r"^ {2,3}((?:File|Directory|Tree) [a-z ]+?) +[\d.]+ +[\d.]+ +([\d.]+) +[\d.]+$",
                           output, re.MULTILINE)
        found = [(name.lower(), float(rate), "/s") for name, rate in rates if float(rate) > 0]
        if not found:
            raise Failed(f"no rates in its output\n{output[-4000:]}")
        return found

    def workbench(self, *arguments):
        output = self._run("md-workbench", arguments)
        rates = re.findall(r"^(precreate|benchmark|cleanup) process max:.*?rate:\s*([\d.]+)", output,
                           re.MULTILINE)
        if not rates:
            raise Failed(f"no rates in its output\n{output[-4000:]}")
        return [(name, float(rate), "iter/s") for name, rate in rates]


def ior_cases(ior, short):
    size = "2m" if short else "32m"
    segments = 64 if short else 1024
    names = 50 if short else 2000
    small = [f"-w{SMALL_BYTES}", f"-e{SMALL_BYTES}"]
    verified = ["-w", "-W", "-r", "-R", "-C", "-e"]
    hard = ["-t", HARD_BYTES, "-b", HARD_BYTES, "-s", segments]
    return [
        ("ior easy, a file per process",
         lambda: ior.ior("-t", "1m", "-b", size, "-F", *verified, "-o", "/ior-easy")),
        ("ior easy, one shared file",
         lambda: ior.ior("-t", "1m", "-b", size, *verified, "-o", "/ior-shared")),
        ("ior easy, read 2 ranks further",
         lambda: ior.ior("-t", "256k", "-b", size, "-F", *verified, "-Q", "2", "-g", "-o", "/ior-far")),
        ("ior, random order, one shared file",
         lambda: ior.ior("-t", "64k", "-b", size, "-z", "-w", "-r", "-R", "-W", "--random-offset-seed=7", "-o",
                         "/ior-random")),
        ("ior, fsync after every write",
         lambda: ior.ior("-t", "64k", "-b", "1m", "-F", "-Y", *verified, "-o", "/ior-fsync")),
        ("ior hard", lambda: ior.ior(*hard, *verified, "-o", "/ior-hard")),
        ("ior hard, write and keep",
         lambda: ior.ior(*hard, "-w", "-e", "-k", "-G", "11", "-o", "/ior-kept")),
        ("ior hard, read by another run",
         lambda: ior.ior(*hard, "-r", "-R", "-C", "-G", "11", "-o", "/ior-kept")),
        ("mdtest easy", lambda: ior.mdtest("-n", names, "-u", "-L", "-F", "-N", "1", "-Y", "-d",
                                           "/mdtest-easy")),
        ("mdtest hard", lambda: ior.mdtest("-n", names, "-F", "-t", "-N", "1", "-Y", "-X",
                                           "--verify-write", *small, "-d", "/mdtest-hard")),
        ("mdtest, files and directories in a tree",
         lambda: ior.mdtest("-n", names, "-b", "2", "-z", "2", "-d", "/mdtest-tree")),
        ("mdtest, directories renamed",
         lambda: ior.mdtest("-n", names, "-D", "-u", "-C", "-T", "-U", "-r", "-d", "/mdtest-rename")),
        ("mdtest, one rank creates", lambda: ior.mdtest("-n", names, "-F", "-c", "-N", "1", "-d",
                                                        "/mdtest-collective")),
        ("mdtest, mknod", lambda: ior.mdtest("-n", names, "-F", "-k", "-d", "/mdtest-mknod")),
        ("md-workbench", lambda: ior.workbench("-o", "/workbench", "-D", "2", "-P", names // 5, "-I",
                                               names // 5, "-R", "2", "-S", SMALL_BYTES, "-X")),
    ]


# What IOR has for every file system, besides POSIX.
STANDARD_BACKENDS = {"MPIIO", "HDF5", "NCMPI", "MMAP", "AIO"}
COLLECTIVE = {"MPIIO", "HDF5", "NCMPI"}


def standard_cases(ior, short, backends):
    size = "2m" if short else "32m"
    cases = []
    for backend in sorted(STANDARD_BACKENDS & backends):
        shared = ["-t", "256k", "-b", size, "-w", "-W", "-r", "-R", "-C", "-o", f"/{backend}"]
        own = ior.using(backend)
        cases.append((f"ior {backend}, one shared file", lambda own=own, shared=shared: own.ior(*shared)))
        if backend in COLLECTIVE:
            cases.append((f"ior {backend}, one shared file, collective",
                          lambda own=own, shared=shared: own.ior(*shared, "-c")))
    return cases


# --- Without IOR ----------------------------------------------------------------------------------


class Own:
    """The benchmarks of this project, in the shapes of IOR's."""

    def __init__(self, program, cluster, clients):
        self.program, self.cluster, self.clients = program, cluster, clients

    def bench(self, kind, *arguments):
        output = self.cluster.run([self.program, "bench", kind, "--clients", self.clients, "--json",
                                   "-", *arguments])
        results = json.loads(output[output.index("{"):])["results"]
        wrong = [result["phase"] for result in results if not result["verified"]]
        if wrong:
            raise Failed(f"wrong data in {', '.join(wrong)}")
        value, unit = ("mib_per_s", "MiB/s") if kind == "io" else ("ops_per_s", "/s")
        return [(result["phase"], result[value], unit) for result in results]


def own_cases(own, short):
    size = "2M" if short else "32M"
    names = 50 if short else 2000
    return [
        ("io easy, a file per process",
         lambda: own.bench("io", "--request", "1M", "--size", size, "--fsync")),
        ("io easy, one shared file",
         lambda: own.bench("io", "--request", "1M", "--size", size, "--shared", "--fsync")),
        ("io, random order, one shared file",
         lambda: own.bench("io", "--request", "64K", "--size", size, "--shared", "--random")),
        ("io hard", lambda: own.bench("io", "--hard", "--size", size, "--fsync")),
        ("md easy", lambda: own.bench("md", "--files", names)),
        ("md hard", lambda: own.bench("md", "--hard", "--files", names)),
    ]


# --- The run --------------------------------------------------------------------------------------


def run_cases(cases):
    rows = []
    for name, run in cases:
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        begin = time.monotonic()
        try:
            rows.append({"case": name, "passed": True,
                         "rates": [{"phase": phase, "value": value, "unit": unit}
                                   for phase, value, unit in run()]})
            print(f" {time.monotonic() - begin:.1f} s", file=sys.stderr)
        except Failed as problem:
            rows.append({"case": name, "passed": False, "problem": str(problem), "rates": []})
            print(f" FAILED\n{problem}", file=sys.stderr)
    return rows


def to_table(rows):
    lines = [("case", "phase", "rate", "data")]
    for row in rows:
        if not row["passed"]:
            lines.append((row["case"], "", "", "FAILED"))
        for i, rate in enumerate(row["rates"]):
            lines.append((row["case"] if i == 0 else "", rate["phase"],
                          f"{rate['value']:.0f} {rate['unit']}", "ok"))
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    rule = "|".join("-" * (width + 2) for width in widths)
    texts = ["| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(line, widths)) + " |"
             for line in lines]
    return "\n".join([texts[0], f"|{rule}|", *texts[1:]])


def run(arguments, programs):
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(
            prefix="benchfs-test-ior.")))
        network = stack.enter_context(hosts.Hosts(arguments.servers))
        cluster = stack.enter_context(Cluster(network, programs, arguments.engine, directory))
        if arguments.ior:
            what = describe_tree(arguments.ior)
            if arguments.through == "mount":
                what += ", through the mount"
                mount = stack.enter_context(cluster.mounted(directory / "mnt"))
                ior = Ior(arguments.ior, cluster, arguments.ranks, directory, "POSIX", mount)
            elif arguments.through == "preload":
                what += ", through the preload library"
                ior = Ior(arguments.ior, cluster, arguments.ranks, directory, "POSIX", "/bfs",
                          [programs / "benchfs-run", "--"])
            else:
                ior = Ior(arguments.ior, cluster, arguments.ranks, directory)
            cases = ior_cases(ior, arguments.short)
            if arguments.through != "backend":
                backends = backends_of(arguments.ior)
                if arguments.through == "preload":
                    backends -= {"AIO"}  # libaio goes to the kernel by itself
                cases += standard_cases(ior, arguments.short, backends)
        else:
            what = "IOR was not given (--ior PATH): benchfs bench io and md in the same shapes"
            cases = own_cases(Own(programs / "benchfs", cluster, arguments.ranks), arguments.short)
        rows = run_cases(cases)
        return {"what": what, "servers": arguments.servers, "engine": arguments.engine,
                "ranks": arguments.ranks, "transports": TRANSPORTS["UCX_TLS"], "cases": rows}


def parse():
    parser = argparse.ArgumentParser(prog="./run test-ior", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ior", type=pathlib.Path, metavar="PATH", help="source tree of IOR 4")
    parser.add_argument("--through", choices=("backend", "mount", "preload"), default="backend",
                        help="how IOR reaches the files (default: the back end of BenchFS)")
    parser.add_argument("--servers", type=int, default=4)
    parser.add_argument("--ranks", type=int, default=2, help="client processes (default: 2)")
    parser.add_argument("--engine", choices=("memory", "file"), default="memory")
    parser.add_argument("--short", action="store_true", help="small sizes, for a test")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release",
                        help="build directory (default: build/release)")
    arguments = parser.parse_args()
    if arguments.through != "backend" and not arguments.ior:
        parser.error(f"--through {arguments.through} needs --ior PATH")
    return arguments


def main():
    arguments = parse()
    build = arguments.build.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster is stopped on the way out
    try:
        if arguments.ior:
            arguments.ior = arguments.ior.resolve()
            if arguments.through == "backend":
                build_ior_with_backend(arguments.ior, build)
            else:
                build_ior(arguments.ior)
        report = run(arguments, build / "bin")
    except hosts.Unavailable as problem:
        print(f"test-ior: skipped: {problem}", file=sys.stderr)
        return EXIT_SKIPPED
    except Failed as problem:
        print(f"test-ior: {problem}", file=sys.stderr)
        return 1
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    failed = sum(not row["passed"] for row in report["cases"])
    print(f"{report['what']}\n{report['servers']} servers with an address each, {report['engine']} "
          f"engine, {report['ranks']} client processes, {report['transports']}\n\n"
          f"{to_table(report['cases'])}\n\n{len(report['cases']) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
