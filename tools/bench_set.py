#!/usr/bin/python3
"""Measures BenchFS against what the network and the disk can do without it.

Everything that is compared runs alternately in one run, for the machine's speed drifts. Values are
medians over the rounds. A machine that does other things at the same time is named in the report.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from bench_common import BIN, ROOT, STEP_LIMIT_S, Cluster, Failed, Row, Series, run
import bench_doors

TCP = {"UCX_TLS": "tcp", "UCX_NET_DEVICES": "lo", "BENCHFS_TRANSPORT": "ucx"}
DEPTHS = (1, 4, 16)


class Perftest:
    """One run of ucx_perftest between two processes over loopback."""

    port = 23400 + os.getpid() % 500

    def __init__(self, test, size, iterations, env=None):
        self.arguments = ["-t", test, "-s", str(size), "-n", str(iterations), "-f"]
        self.arguments += ["-w", str(max(1, iterations // 10))]
        self.env = {**os.environ, **(env or {})}

    def run(self):
        """The numbers of its last line."""
        Perftest.port += 1
        common = ["ucx_perftest", *self.arguments, "-p", str(Perftest.port)]
        server = subprocess.Popen(common, env=self.env, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):  # until it listens
                time.sleep(0.05)
                done = subprocess.run([common[0], "127.0.0.1", *common[1:]], env=self.env,
                                      timeout=STEP_LIMIT_S, capture_output=True, text=True,
                                      check=False)
                if done.returncode == 0:
                    break
            server.wait(STEP_LIMIT_S)
        finally:
            server.kill()
            server.wait()
        numbers = [re.findall(r"[\d.]+", line) for line in done.stdout.splitlines()]
        lines = [n for line, n in zip(done.stdout.splitlines(), numbers)
                 if len(n) >= 8 and "|" not in line]
        if not lines:
            raise Failed(f"{' '.join(common)}: no result\n{done.stdout}{done.stderr}")
        return [float(number) for number in lines[-1][-8:]]

    def round_trip_us(self):
        return 2 * self.run()[1]  # 50.0%ile of the one-way latency

    def mib_per_s(self):
        return self.run()[5]  # overall; ucx_perftest calls 2^20 bytes MB


def fio(path, mode, direct):
    """MiB/s of one sequential pass over 1 GiB, 4 MiB blocks, one at a time."""
    out = run(["fio", "--name=bench", f"--filename={path}", f"--rw={mode}", "--bs=4M",
               "--size=1G", "--ioengine=io_uring", "--iodepth=1", f"--direct={direct}",
               "--fallocate=none", "--output-format=json"] +
              (["--create_on_open=1"] if mode == "write" else []))
    side = json.loads(out[out.index("{"):])["jobs"][0][mode]
    return side["bw_bytes"] / 2**20


def measure_ping(stack, rounds, progress, tcp):
    env = TCP if tcp else {}
    name = "tcp loopback" if tcp else "node door"
    cluster = stack.enter_context(Cluster(1, env=env))
    floor = Perftest("ucp_am_lat", 8, 20_000 if tcp else 200_000, env)
    series = Series()
    for _ in progress(rounds):
        series.add("floor", floor.round_trip_us())
        report = cluster.bench("rpc", "--seconds", "1")
        series.add("ours", report["results"][0]["latency_ns"]["p50"] / 1000)
        series.add("ratio", series.values["ours"][-1] / series.values["floor"][-1])
    limit = 1.25 if tcp else 0.85
    ratio = series.median("ours") / series.median("floor")
    return series, [Row(f"ping, 8 bytes, {name}, p50 in us", series.text("ours"),
                        f"ucx_perftest: {series.text('floor')}", f"{ratio:.2f}",
                        f"at most {limit}", ratio <= limit)]


def measure_stream(stack, rounds, progress):
    cluster = stack.enter_context(Cluster(4))
    floor = Perftest("ucp_am_bw", 4 << 20, 256)
    series = Series()
    # Memory that was never used before has to be found by the kernel, and under a hypervisor by the
    # host too; that is not what is compared.
    series.add("first write", cluster.bench("io", "--size", "1G")["results"][0]["mib_per_s"])
    for _ in progress(rounds):
        series.add("floor", floor.mib_per_s())
        for result in cluster.bench("io", "--size", "1G")["results"]:
            series.add(result["phase"], result["mib_per_s"])
    rows = []
    for phase in ("write", "read"):
        ratio = series.median(phase) / series.median("floor")
        rows.append(Row(f"1 GiB sequential {phase}, 4 servers, memory, MiB/s",
                        series.text(phase, 0), f"ucx_perftest: {series.text('floor', 0)}",
                        f"{ratio:.2f}", "at least 0.5", ratio >= 0.5))
    rows.append(Row("the first 1 GiB written after the start (fresh memory), MiB/s",
                    f"{series.median('first write'):.0f}", ""))
    return series, rows


def measure_files(stack, rounds, progress, parent, name, direct):
    directory = pathlib.Path(stack.enter_context(
        tempfile.TemporaryDirectory(prefix="benchfs-bench.", dir=parent)))
    cluster = stack.enter_context(Cluster(4, "file", directory / "data"))
    series = Series()
    for _ in progress(rounds):
        for mode in ("write", "read"):
            series.add(f"fio {mode}", fio(directory / "fio", mode, direct))
        (directory / "fio").unlink()
        for result in cluster.bench("io", "--size", "1G")["results"]:
            series.add(result["phase"], result["mib_per_s"])
    rows = []
    for phase in ("write", "read"):
        ratio = series.median(phase) / series.median(f"fio {phase}")
        rows.append(Row(f"1 GiB sequential {phase}, 4 servers, file engine on {name}, MiB/s",
                        series.text(phase, 0), f"fio: {series.text(f'fio {phase}', 0)}",
                        f"{ratio:.2f}"))
    return series, rows


def measure_daemons(stack, rounds, progress):
    clusters = {n: stack.enter_context(Cluster(n)) for n in (1, 4)}
    series = Series()
    for _ in progress(rounds):
        for depth in (1, 16):
            for count, cluster in clusters.items():
                report = cluster.bench("rpc", "--seconds", "1", "--depth", str(depth))
                series.add(f"{count} at depth {depth}", report["results"][0]["ops_per_s"])
    rows = []
    for depth in (1, 16):
        one, four = (f"{n} at depth {depth}" for n in (1, 4))
        ratio = series.median(four) / series.median(one)
        rows.append(Row(f"pings/s round 4 daemons, {depth} outstanding", series.text(four, 0),
                        f"1 daemon: {series.text(one, 0)}", f"{ratio:.2f}", "at least 0.20",
                        ratio >= 0.2))
    return series, rows


def measure_crowded(stack, rounds, progress):
    one, eight = (stack.enter_context(Cluster(n)) for n in (1, 8))
    series = Series()
    for _ in progress(rounds):
        for depth in DEPTHS:
            depth_option = ("--depth", str(depth))
            result = one.bench("rpc", "--seconds", "1", *depth_option)["results"][0]
            series.add(f"1 and 1, {depth}", result["ops_per_s"])
            result = eight.bench("rpc", "--clients", "8", "--seconds", "1",
                                 *depth_option)["results"][0]
            series.add(f"8 and 8, {depth}", result["ops_per_s"])
            series.add(f"p99, {depth}", result["latency_ns"]["p99"] / 1e6)
    rows = []
    for depth in DEPTHS:
        one_name, eight_name, p99 = f"1 and 1, {depth}", f"8 and 8, {depth}", f"p99, {depth}"
        ratio = series.median(eight_name) / series.median(one_name)
        rows.append(Row(f"8 daemons, 8 clients, {depth} outstanding each, pings/s",
                        series.text(eight_name, 0), f"1 and 1: {series.text(one_name, 0)}",
                        f"{ratio:.2f}", "at least 0.25", ratio >= 0.25))
        rows.append(Row(f"the same, p99 in ms, {depth} outstanding", series.text(p99), "", None,
                        "below 20", series.median(p99) < 20))
    return series, rows


def measure_rate(stack, rounds, progress):
    cluster = stack.enter_context(Cluster(1))
    series = Series()
    for _ in progress(rounds):
        for result in cluster.bench("rpc", "--path", "persistent,ucx-floor", "--depth", "16",
                                    "--clients", "4", "--seconds", "0.5")["results"]:
            series.add(result["path"], result["ops_per_s"])
            series.add(f"{result['path']} cpu", result["cpu_s_per_million"]["server"] * 1000)
    ratio = series.median("persistent") / series.median("ucx-floor")
    return series, [Row("4 clients, 16 outstanding, one shard, pings/s",
                        series.text("persistent", 0),
                        f"bare UCX echo: {series.text('ucx-floor', 0)}", f"{ratio:.2f}",
                        "at least 0.60", ratio >= 0.6),
                    Row("all processor time of that server for a ping, ns",
                        series.text("persistent cpu", 0),
                        f"bare UCX echo: {series.text('ucx-floor cpu', 0)}", None,
                        "at most 300 more", series.median("persistent cpu") <=
                        series.median("ucx-floor cpu") + 300)]


def measure_writers(stack, rounds, progress):
    cluster = stack.enter_context(Cluster(1))
    series = Series()
    for _ in progress(rounds):
        for clients in (4, 64):
            report = cluster.bench("io", "--clients", str(clients), "--rewrites", "8",
                                   "--size", f"{1024 // clients}M")
            series.add(f"{clients} writers", report["results"][1]["mib_per_s"])
    ratio = series.median("64 writers") / series.median("4 writers")
    return series, [Row("64 writers of 4 MiB, one shard, memory that was used before, MiB/s",
                        series.text("64 writers", 0), f"4 writers: {series.text('4 writers', 0)}",
                        f"{ratio:.2f}", "at least 0.90", ratio >= 0.9)]


def measure_clients(stack, rounds, progress):
    series = Series()
    for _ in progress(rounds):
        # A fresh daemon: memory that earlier clients left in its heap would be used again.
        with Cluster(1) as cluster:
            run([BIN / "benchfs", "set", "max_clients=20000"], cluster.env)
            series.add("ping, alone", median_ping(cluster))
            report = cluster.bench("connect", "--clients", "1000")
            series.add("seconds", report["results"][0]["seconds"])
            series.add("ours", report["system"]["server_bytes_per_client"] / 1024)
            series.add("ucx", report["system"]["ucx_bytes_per_client"] / 1024)
            series.add("idle", report["system"]["server_idle_cpu"] * 100)
            for count in (1000, 10000):
                with idle_clients(cluster, count):
                    series.add(f"ping, {count}", median_ping(cluster))
    ours, ucx = series.median("ours"), series.median("ucx")
    rows = [Row("1,000 clients connect and register, s", series.text("seconds"), "", None,
                "at most 5", series.median("seconds") <= 5),
            Row("server memory for each of them, KiB", series.text("ours", 1),
                f"bare UCX: {series.text('ucx', 1)}", None, "UCX and 4 KiB", ours <= ucx + 4),
            Row("server with 1,000 idle clients, % of a core", series.text("idle"), "", None,
                "below 2", series.median("idle") < 2)]
    for count in (1000, 10000):
        ratio = series.median(f"ping, {count}") / series.median("ping, alone")
        rows.append(Row(f"ping with {count} registered idle clients, p50 / bare UCX echo",
                        series.text(f"ping, {count}"),
                        f"with none: {series.text('ping, alone')}", f"{ratio:.2f}",
                        "at most 1.10", ratio <= 1.1))
    return series, rows


def median_ping(cluster):
    """In turns with a bare UCX echo, and as a multiple of that: the speed of two cores that talk to
    each other changes threefold from one minute to the next."""
    report = cluster.bench("rpc", "--path", "persistent,ucx-floor", "--rounds", "5",
                           "--seconds", "0.1")
    ours, floor = (result["latency_ns"]["p50"] for result in report["results"])
    return ours / floor


@contextlib.contextmanager
def idle_clients(cluster, count):
    """So many registered clients that do nothing, while the block runs."""
    holder = subprocess.Popen([BIN / "benchfs", "bench", "connect", "--clients", str(count),
                               "--hold", "60", "--no-compare"],
                              env={**os.environ, **cluster.env}, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + STEP_LIMIT_S
        while True:
            status = json.loads(run([BIN / "benchfs", "status", "--json"], cluster.env))
            if status["servers"][0]["stats"]["registry"]["clients"] > count:
                break
            if holder.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{count} clients did not register")
            time.sleep(0.1)
        time.sleep(0.5)  # until it does nothing
        yield
    finally:
        holder.kill()
        holder.wait()


def measure_start(stack, rounds, progress):
    series = Series()
    for _ in progress(rounds):
        with Cluster(1) as cluster:
            system = cluster.bench("rpc", "--operations", "1", "--warmup", "0")["system"]
            series.add("init", system["client_init_ms"])
            series.add("client", system["client_rss_mib"])
            series.add("daemon", system["server_rss_mib"])
    rows = []
    for key, what, limit in (("init", "client: connect to first completed operation, ms", 20),
                             ("client", "client: resident memory, MiB", 40),
                             ("daemon", "idle daemon: resident memory, MiB", 100)):
        rows.append(Row(what, series.text(key, 1), "", None, f"at most {limit}",
                        series.median(key) <= limit))
    return series, rows


# Phase of `bench md`, the most pings that its median may take; with empty files and with small ones.
NAME_PHASES = {"create+close": 2.7, "stat": None, "open+close": 2.7, "unlink": 2.3}
DATA_PHASES = {"create+write+close": None, "open+read+close": None, "unlink": 2.3}
SMALL_BYTES = 3901
SMALL_PHASES = ("create+write+close", "stat", "open+read+close", "unlink")


def by_phase(report):
    return {result["phase"]: result for result in report["results"]}


def measure_names(stack, rounds, progress):
    """Files with one server, empty and of 3,901 bytes, as multiples of a ping of the same round."""
    series, rows = Series(), []
    sizes = {0: NAME_PHASES, SMALL_BYTES: DATA_PHASES}

    def suffix(size):
        return f" of {size} bytes" if size else ""

    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchfs-bench.",
                                                                dir="/dev/shm"))
    clusters = {"memory": stack.enter_context(Cluster(1)),
                "file": stack.enter_context(Cluster(1, "file", directory))}
    for _ in progress(rounds):
        for engine, cluster in clusters.items():
            ping = cluster.bench("rpc", "--seconds", "0.5")["results"][0]["latency_ns"]["p50"] / 1000
            series.add(f"ping, {engine}", ping)
            for size, phases in sizes.items():
                results = by_phase(cluster.bench("md", "--files", "10000", "--bytes", str(size)))
                for phase in phases:
                    result, key = results[phase], f"{phase}{suffix(size)}, {engine}"
                    median = result["latency_ns"]["p50"] / 1000
                    series.add(key, median)
                    series.add(f"{key}, pings", median / ping)
                    series.add(f"{key}, rate", result["ops_per_s"])
                    series.add(f"{key}, requests", result["requests_per_op"])
    for engine in clusters:
        wanted = [(f"{phase}{suffix(size)}", most) for size, phases in sizes.items()
                  for phase, most in phases.items()]
        for phase, most in wanted:
            key = f"{phase}, {engine}"
            pings = series.median(f"{key}, pings")
            rows.append(Row(
                f"{phase}, {engine} engine, p50 in us ({series.median(f'{key}, rate'):,.0f}/s, "
                f"{series.median(f'{key}, requests'):.2f} requests)", series.text(key),
                f"ping: {series.text(f'ping, {engine}')}", f"{pings:.2f}",
                most and f"at most {most}", most and pings <= most))
    return series, rows


def measure_small(stack, rounds, progress):
    """Files of 3,901 bytes, with 1 and with 16 servers."""
    clusters = {n: stack.enter_context(Cluster(n)) for n in (1, 16)}
    series, rows = Series(), []
    for _ in progress(rounds):
        for count, cluster in clusters.items():
            results = by_phase(cluster.bench("md", "--hard", "--files", "5000"))
            for phase in SMALL_PHASES:
                series.add(f"{phase}, {count}", results[phase]["ops_per_s"])
                series.add(f"{phase}, {count}, requests", results[phase]["requests_per_op"])
    for phase in SMALL_PHASES:
        one, many = f"{phase}, 1", f"{phase}, 16"
        requests = [series.median(f"{key}, requests") for key in (one, many)]
        rows.append(Row(f"files of 3,901 bytes, {phase}/s, 16 servers ({requests[1]:.2f} requests)",
                        series.text(many, 0),
                        f"1 server: {series.text(one, 0)} ({requests[0]:.2f} requests)",
                        f"{series.median(many) / series.median(one):.2f}"))
    return series, rows


def measure_copy(stack, rounds, progress):
    """cp -r of 2,000 files of 1 KiB, with 1 and with 16 servers."""
    files = 2000
    tree = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchfs-bench.",
                                                                        dir="/dev/shm")))
    for number in range(files):
        (tree / f"file.{number}").write_bytes(os.urandom(1024))
    clusters = {n: stack.enter_context(Cluster(n)) for n in (1, 16)}
    series = Series()
    for number in progress(rounds):
        for count, cluster in clusters.items():
            before = cluster.requests()
            begin = time.monotonic()
            run([BIN / "benchfs", "cp", "-r", tree, f"bfs:/copy.{number}"], cluster.env)
            series.add(f"{count}", files / (time.monotonic() - begin))
            series.add(f"{count}, requests", (cluster.requests() - before) / files)
    ratio = series.median("16") / series.median("1")
    one, many = (f"{series.median(f'{n}, requests'):.2f} requests a file" for n in clusters)
    return series, [Row(f"cp -r of 2,000 files of 1 KiB, files/s, 16 servers ({many})",
                        series.text("16", 0), f"1 server: {series.text('1', 0)} ({one})",
                        f"{ratio:.2f}", "at least 0.50", ratio >= 0.5)]


MEASUREMENTS = {
    "ping": lambda stack, n, p: measure_ping(stack, n, p, tcp=False),
    "ping-tcp": lambda stack, n, p: measure_ping(stack, n, p, tcp=True),
    "stream": measure_stream,
    "tmpfs": lambda stack, n, p: measure_files(stack, n, p, "/dev/shm", "tmpfs", 0),
    "disk": lambda stack, n, p: measure_files(stack, n, p, ROOT / "build", "disk", 1),
    "daemons": measure_daemons,
    "start": measure_start,
    "crowded": measure_crowded,
    "rate": measure_rate,
    "writers": measure_writers,
    "clients": measure_clients,
    "names": measure_names,
    "small": measure_small,
    "copy": measure_copy,
    **bench_doors.MEASUREMENTS,
}


def describe(load):
    """One cluster, asked once, for what the report says of the machine."""
    with Cluster(1) as cluster:
        system = cluster.bench("rpc", "--operations", "1", "--warmup", "0")["system"]
    return {key: system[key] for key in ("host", "cores", "cpu", "kernel", "ucx_version",
                                         "version", "commit", "build_type")} | {"load": load}


def markdown(system, rounds, rows):
    lines = [f"{system['cores']} cores, {system['cpu']}, Linux {system['kernel']}, "
             f"UCX {system['ucx_version']}, BenchFS {system['version']} ({system['commit']}, "
             f"{system['build_type']}). Medians of {rounds} rounds (smallest to largest); load "
             f"of the machine before: {system['load']:.2f}.", "",
             "| measurement | BenchFS | reference | ratio | target | |", "|---|---|---|---|---|---|"]
    for row in rows:
        met = "" if row.met is None else "met" if row.met else "**missed**"
        lines.append(f"| {row.what} | {row.ours} | {row.reference} | {row.ratio or ''} | "
                     f"{row.target or ''} | {met} |")
    return "\n".join(lines) + "\n"


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tools/bench.sh", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(MEASUREMENTS),
                        help="comma-separated: " + ", ".join(MEASUREMENTS))
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "bench")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    for name in arguments.only:
        if name not in MEASUREMENTS:
            parser.error(f"unknown measurement '{name}'; known: {', '.join(MEASUREMENTS)}")
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def main():
    arguments = parse_arguments()
    if not (BIN / "benchfs").exists():
        raise Failed(f"no programs in {BIN}; ./run build makes them")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the clusters on the way out
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"bench: the load is {load:.1f}: other work will show in the numbers", file=sys.stderr)
    system = describe(load)
    rows, raw = [], {}
    for name in arguments.only:
        def progress(rounds, name=name):
            for number in range(rounds):
                print(f"{name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
                yield number
        with contextlib.ExitStack() as stack:
            series, new_rows = MEASUREMENTS[name](stack, arguments.rounds, progress)
        rows += new_rows
        raw[name] = series.values
        # After each, so that a later failure loses nothing.
        text = markdown(system, arguments.rounds, rows)
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "results.md").write_text(text, encoding="utf-8")
        (arguments.out / "results.json").write_text(
            json.dumps({"system": system, "rounds": arguments.rounds, "values": raw}, indent=2) +
            "\n", encoding="utf-8")
    print(text)
    print(f"written to {arguments.out}/results.md and results.json")


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
