"""What the measurements of bench_set.py and bench_doors.py share."""

import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
BIN = pathlib.Path(os.environ.get("BENCHFS_BIN", ROOT / "build" / "release" / "bin"))
STEP_LIMIT_S = 120


class Failed(Exception):
    pass


def run(command, env=None, limit=STEP_LIMIT_S):
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, env={**os.environ, **(env or {})}, timeout=limit,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: exit status {done.returncode}\n"
                     f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


class Cluster:
    """A local cluster; stopped by the exit stack it was entered into."""

    def __init__(self, servers, engine="memory", data_dir=None, env=None):
        self.command = ["--servers", str(servers), "--engine", engine]
        if data_dir is not None:
            self.command += ["--data-dir", str(data_dir)]
        self.registry = tempfile.mkdtemp(prefix="benchfs-bench.")
        self.env = {**(env or {}), "BENCHFS_REGISTRY_DIR": self.registry}

    def __enter__(self):
        try:
            run([BIN / "benchfs", "up", *self.command], self.env)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Failed, subprocess.TimeoutExpired):
            run([BIN / "benchfs", "down"], self.env)
        shutil.rmtree(self.registry, ignore_errors=True)

    def requests(self):
        """Requests that all servers have received, without pings and requests for statistics."""
        servers = json.loads(run([BIN / "benchfs", "stats", "--json"], self.env))["servers"]
        return sum(operation["requests"] for server in servers
                   for operation in server["stats"]["operations"]
                   if operation["operation"] not in ("ping", "stats"))

    def bench(self, *arguments):
        """The report of one benchmark."""
        return json.loads(run([BIN / "benchfs", "bench", *arguments, "--json", "-"], self.env))


class Series:
    """Values of the rounds, by name."""

    def __init__(self):
        self.values = {}

    def add(self, name, value):
        self.values.setdefault(name, []).append(value)

    def median(self, name):
        return statistics.median(self.values[name])

    def text(self, name, digits=2):
        values = self.values[name]
        return (f"{self.median(name):.{digits}f} "
                f"({min(values):.{digits}f} to {max(values):.{digits}f})")


class Row:
    def __init__(self, what, ours, reference, ratio=None, target=None, met=None):
        self.what, self.ours, self.reference = what, ours, reference
        self.ratio, self.target, self.met = ratio, target, met
