#!/usr/bin/python3
"""Runs shellcheck over all shell scripts; exit status 1 if it finds anything, 77 without the program.

    tools/lint/shell.py [--root DIRECTORY] [--program shellcheck] [--list]

A shell script is a file whose first line names sh or bash. --list only prints them.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

SHEBANG = re.compile(rb"#!\s*/\S*\b(env )?(ba|da)?sh\b")
SKIPPED = 77


def tracked(root):
    """The files of the repository; of the directory where there is none, as in a release."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [name for name in listed.stdout.decode().split("\0") if name]
    paths = (path.relative_to(root) for path in root.rglob("*"))
    return [str(path) for path in paths if path.parts[0] != "build"]


def scripts(root):
    """Names of the shell scripts below root."""
    def is_script(path):
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as file:
            return SHEBANG.match(file.readline(80)) is not None
    return sorted(name for name in tracked(root) if is_script(root / name))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--program", default="shellcheck")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    root = pathlib.Path(arguments.root).resolve()
    found = scripts(root)
    if arguments.list:
        print("\n".join(found))
        return 0
    if shutil.which(arguments.program) is None:
        print(f"skipped: {arguments.program} is not installed (tools/install-deps.sh)")
        return SKIPPED
    if not found:
        print(f"no shell script below {root}")
        return 1
    result = subprocess.run([arguments.program, "--norc", "--external-sources", *found], cwd=root, check=False)
    return 1 if result.returncode != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
