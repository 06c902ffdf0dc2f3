"""Tests of layers.py on small made-up trees."""

import pathlib
import tempfile
import unittest

import layers


class LayersTest(unittest.TestCase):
    def check(self, files, layers_for=()):
        files = dict(files)
        for folder in layers_for:
            files[f"src/{folder}/CMakeLists.txt"] = f"benchfs_layer({folder})"
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name).resolve()
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            return layers.Tree(root).run()

    def tree(self):
        return {
            "src/base/CMakeLists.txt": "benchfs_layer(base SOURCES a.cc LIBS x)",
            "src/base/a.h": "",
            "src/wire/CMakeLists.txt": "benchfs_layer(wire\n  SOURCES w.cc  # all of it\n  USES base)",
            "src/wire/w.h": '#include "base/a.h"\n',
            "src/cluster/CMakeLists.txt": "benchfs_layer(cluster USES wire LIBS foo)",
            "src/cluster/c.h": '#include "base/a.h"\n#include "wire/w.h"\n#include <vector>\n',
            "src/rt/CMakeLists.txt": "benchfs_layer(rt USES base)\nbenchfs_test(rt t.cc USES cluster)",
            "src/rt/r.h": '#include "rt/r.h"\n',
        }

    def test_a_tree_in_order_passes(self):
        self.assertEqual(self.check(self.tree()), [])

    def test_an_upward_include_is_named_with_file_and_line(self):
        files = self.tree()
        files["src/base/a.h"] = '// text\n#include "wire/w.h"\n'
        self.assertEqual(
            self.check(files),
            ["src/base/a.h:2: base may not include wire/w.h: wire is not among its USES"])

    def test_a_sideways_include_fails(self):
        files = self.tree()
        files["src/rt/r.cc"] = '#  include "wire/w.h"\n'
        self.assertEqual(len(self.check(files)), 1)

    def test_angle_brackets_are_no_way_around(self):
        files = self.tree()
        files["src/rt/r.cc"] = "#include <wire/w.h>\n"
        self.assertEqual(len(self.check(files)), 1)

    def test_a_relative_path_is_no_way_around(self):
        files = self.tree()
        files["src/rt/r.cc"] = '#include "../wire/w.h"\n'
        self.assertEqual(len(self.check(files)), 1)

    def test_uses_must_name_lower_levels(self):
        files = self.tree()
        files["src/wire/CMakeLists.txt"] = "benchfs_layer(wire USES base rt)"
        problems = self.check(files)
        self.assertEqual(len(problems), 1)
        self.assertIn("src/wire/CMakeLists.txt:1: wire (level 1) may use only lower levels", problems[0])

    def test_a_cycle_is_found(self):
        files = self.tree()
        files["src/base/CMakeLists.txt"] = "benchfs_layer(base USES cluster)"
        self.assertEqual(len(self.check(files)), 1)

    def test_a_folder_without_level_is_found(self):
        files = self.tree()
        files["src/util/CMakeLists.txt"] = "benchfs_layer(util USES base)"
        self.assertIn("util has no level", self.check(files)[0])

    def test_the_layer_has_the_name_of_its_folder(self):
        files = self.tree()
        files["src/rt/CMakeLists.txt"] = "benchfs_layer(net USES base)"
        self.assertIn("must be called rt", self.check(files)[0])

    def test_a_test_may_use_what_its_test_line_names(self):
        files = self.tree()
        files["src/rt/t_test.cc"] = '#include "cluster/c.h"\n#include "wire/w.h"\n'
        self.assertEqual(self.check(files), [])
        files["src/rt/t.cc"] = '#include "cluster/c.h"\n'
        self.assertEqual(len(self.check(files)), 1)

    def test_foreign_headers_stay_in_their_folder(self):
        for header, good, bad in [
                ("ucp/api/ucp.h", "src/net/x.cc", "src/rpc/x.cc"),
                ("ucs/type/status.h", "src/net/x.h", "src/rt/x.h"),
                ("liburing.h", "src/rt/x.cc", "src/chunk/x.cc"),
                ("mpi.h", "src/mpi/x.cc", "src/cli/x.cc"),
                ("fuse_lowlevel.h", "src/mount/x.cc", "src/client/x.cc"),
                ("fuse3/fuse.h", "src/mount/x.cc", "src/client/x.cc"),
                ("toml++/toml.h", "src/base/config.cc", "src/base/error.cc"),
                ("CLI/CLI.hpp", "src/args/x.cc", "src/server/x.cc"),
                ("tsl/robin_map.h", "src/rpc/x.cc", "src/client/x.cc")]:
            with self.subTest(header=header):
                line = f"#include <{header}>\n"
                folders = {path.split("/")[1] for path in (good, bad)}
                self.assertEqual(self.check({good: line}, folders), [])
                problems = self.check({bad: "\n" + line}, folders)
                self.assertEqual(len(problems), 1)
                self.assertTrue(problems[0].startswith(f"{bad}:2: {header} belongs to"))

    def test_libraries_without_a_place_are_allowed_everywhere(self):
        self.assertEqual(
            self.check({"src/rpc/x.cc": "#include <boost/intrusive/list.hpp>\n#include <fmt/core.h>\n"},
                       ["rpc"]),
            [])

    def test_code_without_a_layer_line_is_found_once(self):
        files = self.tree()
        files["src/net/CMakeLists.txt"] = "# benchfs_layer(net USES rt)\n"
        files["src/net/n.h"] = '#include "rt/r.h"\n#include "base/a.h"\n'
        problems = self.check(files)
        self.assertEqual(len(problems), 1)
        self.assertTrue(problems[0].startswith("src/net/CMakeLists.txt:1: code without a layer"))


if __name__ == "__main__":
    unittest.main()
