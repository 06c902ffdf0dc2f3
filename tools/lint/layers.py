#!/usr/bin/python3
"""Checks that every folder of src/ includes only what its benchfs_layer(... USES ...) line allows.

A folder may include itself, its USES and what those use. USES may name only lower levels. Foreign
headers that would spread a library over the tree are confined to a folder. Problems are printed as
file:line: text; exit status 1 if there are any.

    tools/lint/layers.py [--root DIRECTORY]
"""

import argparse
import pathlib
import re
import sys

# Neighbours on one level do not know each other.
LEVELS = {
    "base": 0, "args": 0,
    "wire": 1, "rt": 1,
    "cluster": 2, "link": 2,
    "door": 3, "net": 3, "chunk": 3, "meta": 3,
    "rpc": 4,
    "server": 5, "client": 5,
    "bench": 6, "capi": 6, "mount": 6,
    "preload": 7, "daemon": 7, "cli": 7,
    "mpi": 8,
}

# (header, where it may be included below src/)
FOREIGN = [
    # The baselines of the benchmark are UCX without our layers.
    (re.compile(r"(ucp|uct|ucs)/"), ("net/", "bench/baseline_")),
    (re.compile(r"liburing(\.h$|/)"), ("rt/",)),
    (re.compile(r"sodium(\.h$|/)"), ("cluster/secret.cc",)),
    (re.compile(r"mpi\.h$"), ("mpi/",)),
    (re.compile(r"(linux/)?fuse"), ("mount/",)),
    (re.compile(r"toml\+\+(/|\.h$)"), ("base/config.cc",)),
    (re.compile(r"CLI/"), ("args/", "cli/main.cc", "cli/help/", "mpi/program.cc")),
    (re.compile(r"tsl/"), ("meta/", "chunk/", "rpc/")),
]

KEYWORDS = {"SOURCES", "USES", "LIBS", "PUBLIC_LIBS", "LABELS", "TRANSPORTS", "NAME", "NODE", "TIMEOUT"}
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def calls(text, function):
    """Yields (line, words) of every call of a CMake function."""
    code = re.sub(r"#.*", "", text)
    for match in re.finditer(rf"\b{function}\s*\(([^)]*)\)", code):
        line = code.count("\n", 0, match.start()) + 1
        yield line, match.group(1).split()


def words_after(words, keyword):
    found = []
    active = False
    for word in words:
        if word in KEYWORDS:
            active = word == keyword
        elif active:
            found.append(word)
    return found


class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.src = self.root / "src"
        self.problems = []
        self.uses = {}  # folder -> what its layer line names
        self.test_uses = {}  # folder -> what its tests name besides

    def report(self, path, line, text):
        self.problems.append(f"{path.relative_to(self.root)}:{line}: {text}")

    def read_layers(self):
        for path in sorted(self.src.glob("*/CMakeLists.txt")):
            folder = path.parent.name
            text = path.read_text(encoding="utf-8")
            if not any(calls(text, "benchfs_layer")):
                continue
            self.uses[folder] = set()
            for line, words in calls(text, "benchfs_layer"):
                if words[:1] != [folder]:
                    self.report(path, line, f"the layer of this folder must be called {folder}")
                for used in words_after(words, "USES"):
                    self.check_use(path, line, folder, used)
                    self.uses[folder].add(used)
            self.test_uses[folder] = {
                used
                for _, words in calls(text, "benchfs_test")
                for used in words_after(words, "USES")
            }

    def check_use(self, path, line, folder, used):
        for name in (folder, used):
            if name not in LEVELS:
                self.report(path, line, f"{name} has no level; give it one in {__file__}")
                return
        if LEVELS[used] >= LEVELS[folder]:
            self.report(
                path, line,
                f"{folder} (level {LEVELS[folder]}) may use only lower levels, "
                f"{used} is on level {LEVELS[used]}")

    def closure(self, folders):
        seen = set()
        todo = list(folders)
        while todo:
            folder = todo.pop()
            if folder not in seen:
                seen.add(folder)
                todo.extend(self.uses.get(folder, ()))
        return seen

    def check_includes(self):
        folders = {path.name for path in self.src.iterdir() if path.is_dir()}
        without_layer = set()
        for path in sorted(self.src.rglob("*")):
            if path.suffix not in (".h", ".cc", ".c"):
                continue
            place = path.relative_to(self.src).as_posix()
            folder = place.split("/")[0]
            if folder not in self.uses:
                without_layer.add(folder)
                continue
            is_test = path.stem.endswith("_test")
            direct = {folder} | (self.test_uses.get(folder, set()) if is_test else set())
            allowed = self.closure(direct)
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if match:
                    self.check_include(path, number, place, match.group(2), folders, allowed)
        for folder in sorted(without_layer):
            self.report(self.src / folder / "CMakeLists.txt", 1,
                        f"code without a layer: benchfs_layer({folder} SOURCES … USES …)")

    def check_include(self, path, number, place, header, folders, allowed):
        target = header.split("/")[0] if "/" in header else None
        if target in folders and (self.src / header).exists():
            if target not in allowed:
                self.report(path, number, f"{place.split('/')[0]} may not include {header}: "
                            f"{target} is not among its USES")
            return
        if header.startswith("."):
            self.report(path, number, f"{header}: name the header by its path below src/")
            return
        for pattern, places in FOREIGN:
            if pattern.match(header) and not place.startswith(places):
                self.report(path, number, f"{header} belongs to src/{', src/'.join(places)} only")

    def run(self):
        self.read_layers()
        self.check_includes()
        return self.problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[2])
    problems = Tree(pathlib.Path(parser.parse_args().root).resolve()).run()
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
