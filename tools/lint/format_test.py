"""Tests of format.py, through its program."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(__file__).with_name("format.py")


def run(root, *arguments):
    return subprocess.run([sys.executable, "-B", PROGRAM, "--root", root, *arguments],
                          capture_output=True, text=True, check=False)


class FormatTest(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / ".clang-format").write_text("BasedOnStyle: Google\n")
        (self.root / "src").mkdir()

    def test_without_the_program_it_is_skipped_and_says_so(self):
        result = run(self.root, "--program", "no-such-clang-format")
        self.assertEqual(result.returncode, 77)
        self.assertIn("no-such-clang-format is not installed", result.stdout)

    def test_nothing_to_check_is_an_error(self):
        if shutil.which("clang-format-19"):
            self.assertEqual(run(self.root).returncode, 1)

    @unittest.skipUnless(shutil.which("clang-format-19"), "clang-format-19 is not installed")
    def test_a_file_that_deviates_is_found_by_name(self):
        (self.root / "src" / "good.cc").write_text("int x = 1;\n")
        self.assertEqual(run(self.root).returncode, 0)
        (self.root / "src" / "bad.h").write_text("int   x=1;\n")
        result = run(self.root)
        self.assertEqual(result.returncode, 1)
        self.assertIn("bad.h:1", result.stderr)
        self.assertNotIn("good.cc", result.stderr)


if __name__ == "__main__":
    unittest.main()
