"""The registration in an IOR tree, on a small stand-in that has nothing but its landmarks."""

import pathlib
import subprocess
import tempfile
import unittest

INSTALL = pathlib.Path(__file__).resolve().with_name("install")

TREE = {
    "META": "Package: ior\nVersion: 4.1.0\n",
    "configure.ac": "AC_INIT\nAC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n",
    "src/Makefile.am": "extraSOURCES = aiori.c\nior_SOURCES  += $(extraSOURCES)\n",
    "src/aiori.h": "  void (*remove)(char *);\nconst ior_aiori_t *aiori_select (const char *);\n",
    "src/aiori.c": "int other = {\n  NULL\n};\nior_aiori_t *available_aiori[] = {\n  &a,\n  NULL\n};\n",
    "src/ior.c": 'if (strcasecmp(test->api, "POSIX") == 0) {}\n'
                 'if (((strcasecmp(test->api, "POSIX") != 0)\n && test->fsync)\n'
                 '  WARN_RESET("fsync() not supported in selected backend", 0);\n',
}


class Install(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.tree = pathlib.Path(scratch.name)
        (self.tree / "src").mkdir()
        for name, text in TREE.items():
            (self.tree / name).write_text(text)

    def run_install(self, *arguments):
        return subprocess.run([INSTALL, *arguments, self.tree], capture_output=True, text=True,
                              check=False)

    def texts(self):
        return {str(path.relative_to(self.tree)): path.read_text()
                for path in sorted(self.tree.rglob("*")) if path.is_file()}

    def test_registers_in_every_place_and_copies_the_source(self):
        self.assertEqual(self.run_install("--check").returncode, 1)
        done = self.run_install()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.run_install("--check").returncode, 0)
        texts = self.texts()
        self.assertEqual(texts["src/aiori-BENCHFS.c"],
                         INSTALL.with_name("aiori-BENCHFS.c").read_text())
        self.assertIn("PKG_CHECK_MODULES([BENCHFS]", texts["configure.ac"])
        self.assertLess(texts["configure.ac"].index("BENCHFS"),
                        texts["configure.ac"].index("AC_CONFIG_FILES"))
        self.assertLess(texts["src/Makefile.am"].index("aiori-BENCHFS.c"),
                        texts["src/Makefile.am"].index("ior_SOURCES"))
        self.assertIn("extern ior_aiori_t benchfs_aiori;", texts["src/aiori.h"])
        table = texts["src/aiori.c"]
        self.assertLess(table.index("available_aiori[]"), table.index("&benchfs_aiori,"))
        self.assertLess(table.index("&benchfs_aiori,"), table.rindex("NULL"))
        names = texts["src/ior.c"]
        self.assertLess(names.index('"POSIX") != 0'), names.index('"BENCHFS") != 0'))
        self.assertLess(names.index('"BENCHFS") != 0'), names.index("test->fsync"))

    def test_a_second_time_changes_nothing(self):
        self.run_install()
        before = self.texts()
        done = self.run_install()
        self.assertEqual(done.returncode, 0)
        self.assertIn("already", done.stdout)
        self.assertEqual(self.texts(), before)

    def test_an_old_registration_is_brought_up_to_date(self):
        self.run_install()
        wanted = self.texts()
        for name in ("src/aiori-BENCHFS.c", "src/aiori.h"):
            with self.subTest(name):
                path = self.tree / name
                path.write_text(path.read_text().replace("benchfs_aiori", "old"))
                self.assertEqual(self.run_install("--check").returncode, 1)
                self.assertEqual(self.run_install().returncode, 0)
                self.assertEqual(self.texts(), wanted)

    def test_remove_restores_every_byte(self):
        before = self.texts()
        self.run_install()
        self.assertEqual(self.run_install("--remove").returncode, 0)
        self.assertEqual(self.texts(), before)
        self.assertEqual(self.run_install("--remove").returncode, 0, "nothing to remove")

    def test_the_field_that_removes_a_file_was_called_delete_in_4_0(self):
        header = self.tree / "src/aiori.h"
        header.write_text(header.read_text().replace("(*remove)", "(*delete)"))
        self.assertEqual(self.run_install().returncode, 0)
        self.assertIn("#define BENCHFS_AIORI_REMOVE delete", header.read_text())

    def test_a_tree_without_a_landmark_is_refused_untouched(self):
        for name in TREE:
            if name == "META":
                continue
            with self.subTest(name):
                path = self.tree / name
                path.write_text("something else\n")
                before = self.texts()
                done = self.run_install()
                self.assertEqual(done.returncode, 1)
                self.assertIn(name, done.stderr)
                self.assertIn("Nothing was changed", done.stderr)
                self.assertEqual(self.texts(), before)
                path.write_text(TREE[name])

    def test_a_landmark_that_stands_twice_is_refused(self):
        path = self.tree / "configure.ac"
        path.write_text(path.read_text() * 2)
        done = self.run_install()
        self.assertEqual(done.returncode, 1)
        self.assertIn("2 lines look like AC_CONFIG_FILES", done.stderr)

    def test_half_a_registration_is_refused(self):
        self.run_install()
        path = self.tree / "configure.ac"
        path.write_text(path.read_text().replace("# benchfs: end\n", ""))
        for arguments in ((), ("--remove",)):
            done = self.run_install(*arguments)
            self.assertEqual(done.returncode, 1)
            self.assertIn("without", done.stderr)

    def test_other_versions_and_other_trees_are_refused(self):
        (self.tree / "META").write_text("Version: 3.3.0\n")
        self.assertIn("is IOR 3.3.0", self.run_install().stderr)
        (self.tree / "META").unlink()
        self.assertIn("not a source tree of IOR", self.run_install().stderr)


if __name__ == "__main__":
    unittest.main()
