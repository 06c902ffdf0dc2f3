"""Tests of shell.py, through its program."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(__file__).with_name("shell.py")


def run(root, *arguments):
    return subprocess.run([sys.executable, "-B", PROGRAM, "--root", root, *arguments],
                          capture_output=True, text=True, check=False)


class ShellTest(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_scripts_are_known_by_their_first_line_not_by_their_name(self):
        (self.root / "build").mkdir()
        for name, line in (("run", "#!/usr/bin/env bash"), ("a.sh.in", "#!/bin/sh"), ("c", "#!/bin/bash"),
                           ("build/x", "#!/bin/sh"), ("p", "#!/usr/bin/python3"), ("text.sh", "no")):
            (self.root / name).write_text(line + "\n")
        self.assertEqual(run(self.root, "--list").stdout.split(), ["a.sh.in", "c", "run"])

    def test_without_the_program_it_is_skipped_and_says_so(self):
        result = run(self.root, "--program", "no-such-shellcheck")
        self.assertEqual(result.returncode, 77)
        self.assertIn("no-such-shellcheck is not installed", result.stdout)

    @unittest.skipUnless(shutil.which("shellcheck"), "shellcheck is not installed")
    def test_what_shellcheck_finds_fails(self):
        self.assertEqual(run(self.root).returncode, 1)  # Nothing to check.
        (self.root / "good").write_text("#!/bin/sh\necho one\n")
        self.assertEqual(run(self.root).returncode, 0)
        # The quote that once ended the table of install-deps.sh, in small.
        (self.root / "bad").write_text("#!/bin/bash\nreadonly T='\na the table's end\nb it's\n'\n")
        result = run(self.root)
        self.assertEqual(result.returncode, 1)
        self.assertIn("bad line", result.stdout)


if __name__ == "__main__":
    unittest.main()
