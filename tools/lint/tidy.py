#!/usr/bin/python3
"""Checks habits that no compiler checks. Problems are printed as file:line: text; exit status 1.

    tools/lint/tidy.py [--root DIRECTORY]

Code is looked at without comments and strings. Three bans can be lifted for one line, with a reason:
    // lint: allow sleep <reason>
    // lint: allow new <reason>
    // lint: allow thread <reason>
"""

import argparse
import os
import pathlib
import re
import sys

CODE = {".h", ".cc", ".c"}
TEXT = CODE | {".md", ".py", ".sh", ".cmake", ".toml", ".json", ".txt"}
SKIPPED_FOLDERS = {".git", "build", "__pycache__", "corpus"}
MAX_COLUMNS = 100


def in_test(path):
    return path.stem.endswith("_test") or path.parts[0] == "tests" or "testing" in path.parts


def owns_threads(path):
    return in_test(path) or path.parts[0] == "bench" or \
        path.parts[:2] in {("src", name) for name in ("rt", "daemon", "client", "cli", "mpi")}


class Ban:
    def __init__(self, pattern, advice, applies=lambda path: True, marker=None):
        self.pattern = re.compile(pattern)
        self.advice = advice
        self.applies = applies  # to the path, relative to the root
        self.marker = marker  # "// lint: allow <marker> <reason>" lifts the ban


BANS = [
    Ban(r"\bstd::endl\b", "std::endl: use '\\n'"),
    Ban(r"#\s*include\s*<iostream>", "<iostream>: use fmt::print or BENCHFS_LOG"),
    Ban(r"#\s*include\s*<regex>", "<regex>: parse by hand"),
    Ban(r"(?<![\w.>])s?rand\s*\(", "rand(): use base/random.h"),
    Ban(r"\bfmt::(?:v?format_to|memory_buffer)\b",
        "fmt::format_to: compiles all of fmt into each file; append what fmt::format returns"),
    Ban(r"\busing\s+namespace\b", "using namespace: name what you use"),
    Ban(r"\bswitch\s*\(\s*co_await\b", "switch (co_await …): await into a variable first"),
    Ban(r"(?<![\w.<])new\b(?!\s*\((?!\s*std::nothrow))(?!\s*[,;)=])",
        "naked new: use std::make_unique or a pool",
        applies=lambda path: path.suffix != ".c", marker="new"),
    Ban(r"\bstd::j?thread\b(?!::)", "std::thread: threads belong to rt, daemon, client, cli, mpi and tests",
        applies=lambda path: not owns_threads(path), marker="thread"),
    Ban(r"\bsystem_clock\b", "system_clock: use base/clock.h",
        applies=lambda path: path.as_posix() != "src/base/clock.h"),
    Ban(r"(?<![\w.>])assert\s*\(", "assert(): use BENCHFS_CHECK or BENCHFS_DCHECK"),
    Ban(r"\b(sleep_for|sleep_until|usleep|nanosleep)\b|(?<![\w.>])sleep\s*\(",
        "sleep in a test: wait for an event with a deadline",
        applies=in_test, marker="sleep"),
]

# Comments, raw strings, strings and characters (not the ' in 1'000), in this order of preference.
NON_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/'
    r'|R"(?P<delimiter>[^()\\\s]{0,16})\(.*?\)(?P=delimiter)"'
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|(?<![0-9a-fA-F])'(?:[^'\\\n]|\\.)+'",
    re.DOTALL)


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def code_lines(text):
    """The lines of a source with comments and literals blanked, includes kept."""
    blanked = NON_CODE.sub(blank, text).split("\n")
    return [raw if re.match(r"\s*#\s*include\b", raw) and code.strip() else code
            for raw, code in zip(text.split("\n"), blanked)]


def check_code(path, text):
    """Yields (line, problem)."""
    raw_lines = text.split("\n")
    for number, code in enumerate(code_lines(text), 1):
        raw = raw_lines[number - 1]
        if len(raw) > MAX_COLUMNS:
            yield number, f"{len(raw)} columns, {MAX_COLUMNS} are allowed"
        for ban in BANS:
            if not ban.applies(path) or not ban.pattern.search(code):
                continue
            if ban.marker and re.search(rf"// lint: allow {ban.marker} +\S", raw):
                continue
            yield number, ban.advice


def check_text(path, text):
    """Yields (line, problem) for every kind of text."""
    for number, line in enumerate(text.split("\n"), 1):
        if line != line.rstrip():
            yield number, "trailing whitespace"
        if path.parts[:2] == ("tools", "lint"):
            continue  # this file and its test name the words
        if re.search(r"\bFIXME\b", line):
            yield number, "FIXME: repair it, or open an issue and write TODO(#n)"
        if re.search(r"\bTODO\b(?!\(#\d+\))", line):
            yield number, "TODO without issue: write TODO(#n)"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end of the file"


def check_markdown(text):
    fenced = False
    titles = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and line.startswith("# "):
            titles.append(number)
    if len(titles) != 1:
        yield (titles + [1, 1])[1 if titles else 0], \
            f"{len(titles)} titles ('# …'), one is wanted"


class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root)

    def files(self):
        """Paths of all text files, relative to the root."""
        for folder, names, files in os.walk(self.root):
            names[:] = sorted(set(names) - SKIPPED_FOLDERS)
            for name in sorted(files):
                path = pathlib.Path(folder, name).relative_to(self.root)
                if path.suffix in TEXT and not (self.root / path).is_symlink():
                    yield path

    def built_files(self):
        """Paths, relative to the root, of all files that some file of CMake's names."""
        named = set()
        for path in self.files():
            if path.name != "CMakeLists.txt" and path.suffix != ".cmake":
                continue
            text = re.sub(r"#.*", "", (self.root / path).read_text(encoding="utf-8"))
            for word in re.split(r'[\s()"]+', text):
                variable, _, rest = word.rpartition("}/")
                in_source_root = variable.endswith("SOURCE_DIR") and "CURRENT" not in variable
                named.add(pathlib.Path() / rest if in_source_root else path.parent / rest)
        return named

    def check_folders(self, paths):
        folders = {path.parts[1] for path in paths
                   if path.parts[0] == "src" and len(path.parts) > 2 and path.suffix in CODE}
        for folder in sorted(folders):
            if not (self.root / "src" / folder / "README.md").exists():
                yield f"src/{folder}/README.md:1: missing: purpose, entry header, threads, limits"

    def run(self):
        problems = []
        paths = list(self.files())
        built = self.built_files()
        for path in paths:
            try:
                text = (self.root / path).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                problems.append(f"{path}:1: not UTF-8")
                continue
            found = list(check_text(path, text))
            if path.suffix in CODE:
                found += check_code(path, text)
            if path.suffix == ".md":
                found += check_markdown(text)
            if path.suffix == ".cc" and path not in built:
                found.append((1, "no file of CMake's names this file"))
            problems += [f"{path}:{line}: {problem}" for line, problem in sorted(found)]
        problems += self.check_folders(paths)
        return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[2])
    problems = Tree(pathlib.Path(parser.parse_args().root).resolve()).run()
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
