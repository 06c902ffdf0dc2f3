#!/usr/bin/python3
"""Prints the table of tools/demo.sh from the files it left in its work directory.

    tools/demo_table.py WORK TREE
"""

import json
import pathlib
import sys

STEPS_OF_DATA = {"in": "copying", "out": "reading"}


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def time_text(nanoseconds):
    value, units = float(nanoseconds), ["ns", "us", "ms", "s"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}"


def bandwidth_text(mib_per_s):
    return f"{mib_per_s / 1024:.2f} GiB/s" if mib_per_s >= 1024 else f"{mib_per_s:.3g} MiB/s"


def read_steps(work):
    steps = []
    for line in (work / "steps").read_text(encoding="utf-8").splitlines():
        seconds, what = line.split("\t", 1)
        steps.append((what, float(seconds)))
    return steps


def read_tree(work):
    """(files, directories, links, bytes) of the tree that was copied."""
    counts = {"f": 0, "d": 0, "l": 0}
    size = 0
    for line in (work / "attributes.before").read_text(errors="surrogateescape").splitlines():
        fields = line.split(" ")
        if fields[0] in counts:
            counts[fields[0]] += 1
        if fields[0] == "f":
            size += int(fields[2])
    return counts["f"], counts["d"], counts["l"], size


def print_rows(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        print("  " + "  ".join(cells).rstrip())


def print_data(work, tree, steps):
    files, directories, links, size = read_tree(work)
    size += (work / "large.bin").stat().st_size
    files += 1
    print(f"\nData: {tree} and large.bin")
    print(f"  {files} files, {directories} directories, {links} symbolic links, "
          f"{size / 2**30:.2f} GiB")
    for direction, word in STEPS_OF_DATA.items():
        seconds = max(0.1, next(s for what, s in steps if what.startswith(word)))
        print(f"  {direction:<3}  {size / 2**30 / seconds:6.2f} GiB/s  "
              f"{(files + directories + links) / seconds:8.0f} names/s")


def print_benchmarks(work):
    rows = [("benchmark", "payload", "ops/s", "bandwidth", "p50", "p99", "data")]
    for name in ("rpc", "io", "md"):
        for result in load(work / f"{name}.json")["results"]:
            latency = result["latency_ns"]
            size = result["payload_bytes"]
            rows.append((
                f"{name} {result['phase']}",
                f"{size} B" if size else "-",
                f"{result['ops_per_s']:.0f}",
                bandwidth_text(result["mib_per_s"]) if result["mib_per_s"] else "-",
                time_text(latency["p50"]),
                time_text(latency["p99"]),
                "ok" if result["verified"] else "WRONG"))
    print("\nBenchmarks")
    print_rows(rows)


def print_servers(work):
    rows = [("server", "requests", "cpu", "memory", "connections", "hit rate", "evictions",
             "malformed", "sleeps")]
    for server in load(work / "status.json")["servers"]:
        stats = server["stats"]
        registry, rpc = stats["registry"], stats["rpc"]
        rows.append((
            server["node_id"],
            str(rpc["requests"]),
            f"{stats['cpu_s']:.1f} s",
            f"{stats['memory_bytes'] / 2**20:.0f} MiB",
            str(stats["admission"]["accepted"]),
            f"{100 * registry['hit_rate']:.2f} %",
            str(registry["evictions"]),
            str(rpc["malformed"]),
            str(stats["reactor"]["sleeps"])))
    print("\nServers, and their client registries")
    print_rows(rows)


def print_times(steps):
    total = sum(seconds for _, seconds in steps)
    print("\nWhere the time went")
    print_rows([("step", "seconds", "share")] +
               [(what, f"{seconds:.1f}", f"{100 * seconds / max(total, 0.1):.0f} %")
                for what, seconds in steps])


def main():
    work, tree = pathlib.Path(sys.argv[1]), sys.argv[2]
    steps = read_steps(work)
    print_data(work, tree, steps)
    print_benchmarks(work)
    print_servers(work)
    print_times(steps)


if __name__ == "__main__":
    main()
