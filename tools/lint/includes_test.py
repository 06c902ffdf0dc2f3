"""Tests of includes.py."""

import pathlib
import tempfile
import unittest

import includes


class IncludesTest(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def problems(self, **files):
        for name, text in files.items():
            path = self.root / "src" / "x" / name.replace("_h", ".h").replace("_cc", ".cc")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return list(includes.Tree(self.root).problems())

    def test_what_is_used_is_included(self):
        self.assertEqual(self.problems(a_cc="#include <vector>\nstd::vector<int> x;\n"), [])
        self.assertEqual(self.problems(a_cc="\nstd::vector<int> x;\nstd::vector<int> y;\n"),
                         ["src/x/a.cc:2: std::vector: include <vector>"])

    def test_a_header_of_ours_may_bring_it(self):
        self.assertEqual(self.problems(a_h="#include <span>\n", b_h='#include "x/a.h"\n',
                                       a_cc='#include "x/b.h"\nstd::span<int> x;\n'), [])

    def test_a_header_stands_alone(self):
        self.assertEqual(self.problems(a_h="std::span<int> x;\n",
                                       a_cc='#include <span>\n#include "x/a.h"\n'),
                         ["src/x/a.h:1: std::span: include <span>"])

    def test_comments_and_texts_use_nothing(self):
        self.assertEqual(self.problems(a_cc='// std::map\nauto x = "std::map";\n'), [])

    def test_a_standard_header_may_bring_what_the_standard_says(self):
        self.assertEqual(self.problems(a_cc="#include <string>\nstd::string_view x;\n"), [])

    def test_a_test_includes_googletest(self):
        self.assertEqual(self.problems(a_cc="using testing::Test;\n"),
                         ["src/x/a.cc:1: testing::Test: include <gtest/gtest.h>"])


if __name__ == "__main__":
    unittest.main()
