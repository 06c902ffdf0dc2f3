"""Every shell script of the tree, run as its user runs it.

    scripts_test.py --root SOURCE --bin DIRECTORY_OF_THE_PROGRAMS [names of tests]

What installs or builds for minutes runs in a copy of the scripts, with stand-ins for apt-get, dpkg-query, cmake and
ctest in front of PATH. They write their arguments to `calls`.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = None
BIN = None

# Each script and what runs it: a test here, or the test of that name in ctest.
RUN_BY = {
    ".ci/run": "test_the_gate_runs_the_tests",
    "cmake/test_env.sh.in": "every test program",
    "docs/models/run-sizes.sh": "test_the_models_need_spin",
    "run": "test_run_builds_and_counts_tests",
    "tests/capi/install_test.sh": "capi.install",
    "tests/mount/postgres.sh": "mount.postgres",
    "tests/preload/compare.sh": "preload.calls",
    "tests/preload/down.sh": "preload.down",
    "tests/preload/refused.sh": "preload.refused",
    "tests/preload/left_opens.sh": "preload.left_opens",
    "tests/preload/shared_locks.sh": "preload.shared_locks",
    "tests/preload/shared_mapping.sh": "preload.shared_mapping",
    "tests/preload/start.sh": "preload.start",
    "tests/science/science.sh": "science.h5py.mount",
    "tools/bench.sh": "test_bench_explains_itself",
    "tools/demo.sh": "test_demo",
    "tools/install-deps.sh": "test_groups_of_packages",
}

GROUPS = ("demo", "build", "test", "bench", "ior")


def run(*command, env=None, cwd=None):
    result = subprocess.run([str(part) for part in command], cwd=cwd, env={**os.environ, **(env or {})},
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False)
    return result.returncode, result.stdout, result.stderr


class OnThisMachine(unittest.TestCase):
    def test_every_script_has_its_test(self):
        status, out, err = run(sys.executable, "-B", ROOT / "tools/lint/shell.py", "--root", ROOT, "--list")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out.split(), sorted(RUN_BY))
        for test in RUN_BY.values():
            if test.startswith("test_"):
                self.assertTrue(any(hasattr(case, test) for case in (OnThisMachine, OnABareMachine)), test)

    def test_groups_of_packages(self):
        script = ROOT / "tools/install-deps.sh"
        every = {}
        for group in GROUPS:
            status, out, err = run(script, "--list", group)
            self.assertEqual((status, err), (0, ""), group)
            rows = [line.split(None, 2) for line in out.splitlines()]
            self.assertGreater(len(rows), 1, group)
            for row in rows:
                self.assertEqual(len(row), 3, f"{row}: a row has a group, a package and a reason")
                self.assertIn(row[0], (group, "demo") if group == "build" else (group,))
                self.assertRegex(row[1], r"^[a-z0-9][a-z0-9+.-]+$")
                every[row[1]] = row[0]
        status, out, err = run(script, "--list", *GROUPS)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(sorted(every), sorted(line.split()[1] for line in out.splitlines()))
        for group in GROUPS:
            status, out, err = run(script, "--check", group)
            self.assertEqual(err, "", group)
            self.assertIn(status, (0, 1), group)
            self.assertEqual(out.startswith("missing packages: "), status == 1, out)

    def test_wrong_usage(self):
        for command in (["tools/install-deps.sh", "none"], ["run", "none"], ["run", "test", "none"],
                        ["run", "build", "none"], [".ci/run", "none"], ["tools/bench.sh", "--none"]):
            status, out, err = run(ROOT / command[0], *command[1:])
            if command[0] == "tools/bench.sh" and "is missing" in err:
                continue
            self.assertEqual((status, out), (2, ""), command)
            self.assertIn("none", err, command)

    def test_help(self):
        for command in (["run"], ["run", "--help"], ["run", "demo", "--help"], ["run", "bench", "--help"],
                        ["run", "test-ior", "--help"], ["tools/install-deps.sh", "--help"],
                        ["tools/demo.sh", "--help"]):
            status, out, err = run(ROOT / command[0], *command[1:])
            self.assertEqual((status, err), (0, ""), command)
            self.assertGreater(len(out.splitlines()), 3, command)

    def test_bench_explains_itself(self):
        status, out, err = run(ROOT / "tools/bench.sh", "--help")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("--only", out)

    def test_the_models_need_spin(self):
        with tempfile.TemporaryDirectory() as empty:
            for tool in ("bash", "dirname"):
                os.symlink(shutil.which(tool), pathlib.Path(empty) / tool)
            status, out, err = run(ROOT / "docs/models/run-sizes.sh", env={"PATH": empty})
        self.assertEqual((status, out), (1, ""))
        self.assertIn("spin is not installed", err)

    def test_demo(self):
        with tempfile.TemporaryDirectory() as tmp:
            tree = pathlib.Path(tmp) / "tree"
            (tree / "deep").mkdir(parents=True)
            (tree / ".hidden").write_text("dots")
            (tree / "deep" / "file").write_text("text")
            os.symlink("deep/file", tree / "link")
            status, out, err = run(ROOT / "tools/demo.sh", "--servers", "2", "--tree", tree, "--large-mib", "8",
                                   env={"BENCHFS_BIN": str(BIN), "TMPDIR": tmp})
            self.assertEqual((status, err), (0, ""), out)
            self.assertIn("Everything came back as it was.", out)
            self.assertEqual(os.listdir(tmp), ["tree"])
            status, out, err = run(ROOT / "tools/demo.sh", "--tree", tree / "none")
            self.assertEqual(status, 1)
            self.assertIn("is not a directory; choose another with --tree", err)


class OnABareMachine(unittest.TestCase):
    """No package is installed, nothing is built."""

    def setUp(self):
        self.tmp = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.tree = self.tmp / "tree"
        for name in (".ci/run", "run", "tools/demo.sh", "tools/demo_table.py", "tools/install-deps.sh"):
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.tree / name)
        (self.tmp / "bin").mkdir()
        self.calls = self.tmp / "calls"
        self.stand_in("apt-get", '[ "$2" != update ] || exit 0; touch "$TMP_OF_TEST/installed"; '
                                 'echo "0 upgraded, 2 newly installed"; echo "Setting up it"')
        self.stand_in("dpkg-query", 'shift 3; [ ! -e "$TMP_OF_TEST/installed" ] || printf "ii  %s\\n" "$@"')
        self.stand_in("cmake", ":")
        self.stand_in("ctest", 'echo "100% tests passed, 0 tests failed out of 3"')
        self.stand_in("sudo", 'exec "$@"')

    def stand_in(self, name, body):
        path = self.tmp / "bin" / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"$TMP_OF_TEST/calls"\n{body}\n')
        path.chmod(0o755)

    def in_tree(self, *command, **env):
        return run(self.tree / command[0], *command[1:], cwd=self.tree,
                   env={"PATH": f"{self.tmp}/bin:{os.environ['PATH']}", "TMP_OF_TEST": str(self.tmp), **env})

    def called(self):
        return self.calls.read_text().splitlines()

    def packages(self, *groups):
        _, out, _ = run(ROOT / "tools/install-deps.sh", "--list", *groups)
        return sorted(line.split()[1] for line in out.splitlines())

    def test_packages_are_installed_once(self):
        for group in GROUPS:
            with self.subTest(group):
                (self.tmp / "installed").unlink(missing_ok=True)
                self.calls.unlink(missing_ok=True)
                status, out, err = self.in_tree("tools/install-deps.sh", group)
                self.assertEqual((status, err), (0, ""), out)
                install = [call.split() for call in self.called() if call.startswith("apt-get install ")]
                self.assertEqual(len(install), 1)
                self.assertEqual([word for word in install[0][2:] if word[0] != "-"], self.packages(group))
                self.assertIn(f"installed {len(self.packages(group))} packages", out)
                status, out, err = self.in_tree("tools/install-deps.sh", group)
                self.assertEqual((status, out, err), (0, "", ""))

    def test_what_fails_to_install_ends_the_command(self):
        self.stand_in("apt-get", "echo 'E: no network'; exit 100")
        for command in (["tools/install-deps.sh"], ["run", "build"], ["run", "test"], ["run", "demo"]):
            status, _, err = self.in_tree(*command)
            self.assertEqual(status, 1, command)
            self.assertIn("E: no network", err)
        self.assertFalse([call for call in self.called() if call.startswith("cmake")])

    def test_run_builds_and_counts_tests(self):
        status, out, err = self.in_tree("run", "build")
        self.assertEqual((status, err), (0, ""), out)
        self.assertIn("built in build/release", out)
        for preset in ("release", "asan", "tsan"):
            (self.tree / "build" / preset).mkdir(parents=True, exist_ok=True)
        status, out, err = self.in_tree("run", "test")
        self.assertEqual((status, err), (0, ""), out)
        self.assertEqual(out.splitlines()[-1], "9 passed, 0 failed")
        self.stand_in("ctest", 'printf "67%% tests passed, 1 tests failed out of 3\\n\\n'
                               'The following tests FAILED:\\n\\t  2 - a.test (Failed)\\n\\n"; exit 8')
        status, out, _ = self.in_tree("run", "test", "--quick")
        self.assertEqual(status, 1)
        self.assertEqual(out.splitlines()[-2:], ["FAILED release: a.test (Failed)", "2 passed, 1 failed"])
        self.stand_in("cmake", "exit 1")
        status, out, _ = self.in_tree("run", "test", "--quick")
        self.assertEqual(status, 1)
        self.assertIn("FAILED release: the build failed, see build/release.log", out)

    def test_the_gate_runs_the_tests(self):
        (self.tree / "build/release").mkdir(parents=True)
        status, out, err = self.in_tree(".ci/run", "--quick")
        self.assertEqual((status, err), (0, ""), out)
        self.assertEqual(out.splitlines()[-1], "3 passed, 0 failed")

    def test_the_demo_installs_and_builds_what_it_needs(self):
        status, out, err = self.in_tree("run", "demo", "--servers", "1", "--tree", str(self.tree), "--large-mib", "4",
                                        BENCHFS_BIN=str(BIN), TMPDIR=str(self.tmp))
        self.assertEqual((status, err), (0, ""), out)
        install = next(call for call in self.called() if call.startswith("apt-get install "))
        self.assertEqual([word for word in install.split()[2:] if word[0] != "-"], self.packages("demo"))
        self.assertIn("cmake --build --preset release -j", "\n".join(self.called()))
        self.assertIn("Everything came back as it was.", out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    options, rest = parser.parse_known_args()
    ROOT, BIN = options.root.resolve(), options.bin.resolve()
    unittest.main(argv=[sys.argv[0], *rest])
