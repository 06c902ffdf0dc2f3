#!/usr/bin/python3
"""Checks that the source has the layout of .clang-format; exit status 1 if not, 77 without the program.

    tools/lint/format.py [--root DIRECTORY] [--program clang-format-19]
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys

CODE = {".h", ".cc", ".c"}
SKIPPED = 77


def tracked(root):
    """The files of the repository; of the directory where there is none, as in a release."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        names = listed.stdout.decode().split("\0")
    else:
        names = (path.relative_to(root) for folder in ("bench", "include", "src", "tests")
                 for path in (root / folder).rglob("*"))
    paths = (root / name for name in names if name)
    return sorted(str(path) for path in paths if path.suffix in CODE and path.is_file())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--program", default="clang-format-19")
    arguments = parser.parse_args()
    if shutil.which(arguments.program) is None:
        print(f"skipped: {arguments.program} is not installed (tools/install-deps.sh)")
        return SKIPPED
    root = pathlib.Path(arguments.root).resolve()
    files = tracked(root)
    if not files:
        print(f"no source below {root}")
        return 1
    result = subprocess.run([arguments.program, "--dry-run", "-Werror", "--style=file", *files],
                            cwd=root, env={**os.environ, "LC_ALL": "C"}, check=False)
    return 1 if result.returncode != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
