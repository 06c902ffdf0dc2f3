"""Tests of tidy.py."""

import pathlib
import tempfile
import unittest

import tidy


def code(text, path="src/rpc/x.cc"):
    return [problem for _, problem in tidy.check_code(pathlib.Path(path), text)]


class BanTest(unittest.TestCase):
    def test_banned_code_is_found(self):
        for text in [
                "out << std::endl;", "#include <iostream>", "#include <regex>", "int x = rand();",
                "srand(1);", "using namespace std;", "switch (co_await call()) {",
                "auto* p = new Foo;", "auto* p = new Foo(1);", "auto* p = new (std::nothrow) Foo;",
                "return new int[3];", "std::thread t;", "std::jthread t;",
                "auto t = std::chrono::system_clock::now();", "assert(x);", "  assert (x);",
                'fmt::format_to(std::back_inserter(text), "{}", x);']:
            with self.subTest(text=text):
                self.assertEqual(len(code(text)), 1)

    def test_code_that_only_looks_similar_passes(self):
        for text in [
                "// std::endl and new Foo", "/* rand()\n new Foo\n*/ int x;", 'f("assert(1) new X");',
                'auto s = R"(\nusing namespace x;\n)";', "static_assert(true);", "new (p) Foo;",
                "::new (static_cast<void*>(p)) Foo;", "void* operator new(std::size_t);",
                "#include <new>", "int new_size = 1;", "operand(1);", "random.rand();",
                "std::this_thread::yield();", "std::thread::hardware_concurrency();",
                "int x = 1'000; // it's new Foo", "char c = '\"'; int y; // new X \"",
                "using std::vector;", "BENCHFS_CHECK(x);"]:
            with self.subTest(text=text):
                self.assertEqual(code(text), [])

    def test_a_ban_is_lifted_where_the_thing_belongs(self):
        self.assertEqual(code("std::thread t;", "src/rt/x.cc"), [])
        self.assertEqual(code("std::thread t;", "src/rpc/x_test.cc"), [])
        self.assertEqual(code("system_clock::now();", "src/base/clock.h"), [])
        self.assertEqual(len(code("system_clock::now();", "src/base/log.cc")), 1)

    def test_sleeps_are_banned_in_tests_only(self):
        for text in ["std::this_thread::sleep_for(x);", "usleep(1);", "sleep(1);", "::sleep(1);",
                     "nanosleep(&t, nullptr);"]:
            with self.subTest(text=text):
                self.assertEqual(len(code(text, "src/rt/x_test.cc")), 1)
                self.assertEqual(len(code(text, "tests/system/x.cc")), 1)
                self.assertEqual(code(text, "src/rt/x.cc"), [])
        self.assertEqual(code("co_await reactor.sleep(1);", "src/rt/x_test.cc"), [])

    def test_a_marker_needs_its_kind_and_a_reason(self):
        self.assertEqual(code("new Foo;  // lint: allow new the pool owns it"), [])
        self.assertEqual(len(code("new Foo;  // lint: allow new")), 1)
        self.assertEqual(len(code("new Foo;  // lint: allow sleep it is not one")), 1)
        self.assertEqual(len(code("assert(x);  // lint: allow assert please")), 1)
        self.assertEqual(
            code("usleep(1);  // lint: allow sleep shows the idle CPU", "src/rt/x_test.cc"), [])

    def test_the_line_number_survives_comments_and_strings(self):
        text = '/* a\nb */\nauto s = R"x(\n)x";\nassert(1);\n'
        self.assertEqual([line for line, _ in tidy.check_code(pathlib.Path("src/a/b.cc"), text)], [5])

    def test_columns_are_characters(self):
        self.assertEqual(code("// " + "é" * 97), [])
        self.assertEqual(len(code("// " + "é" * 98)), 1)


class TextTest(unittest.TestCase):
    def lines(self, text, path="docs/x.md"):
        return [line for line, _ in tidy.check_text(pathlib.Path(path), text)]

    def test_marks_and_whitespace(self):
        self.assertEqual(self.lines("a\nb \n"), [2])
        self.assertEqual(self.lines("a\t\n"), [1])
        self.assertEqual(self.lines("a"), [1])
        self.assertEqual(self.lines("FIXME\n"), [1])
        self.assertEqual(self.lines("TODO: x\nTODO(me)\nTODO(#12): y\n"), [1, 2])
        self.assertEqual(self.lines("TODOS\n"), [])

    def test_a_document_has_one_title(self):
        self.assertEqual(list(tidy.check_markdown("# A\n## B\n```\n# no title\n```\n")), [])
        self.assertEqual([line for line, _ in tidy.check_markdown("# A\n\n# B\n")], [3])
        self.assertEqual([line for line, _ in tidy.check_markdown("text\n")], [1])


class TreeTest(unittest.TestCase):
    def check(self, files):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name).resolve()
            for path, content in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                data = content if isinstance(content, bytes) else content.encode()
                (root / path).write_bytes(data)
            return tidy.Tree(root).run()

    def test_a_tidy_tree_passes(self):
        self.assertEqual(self.check({
            "src/rt/README.md": "# rt\n",
            "src/rt/CMakeLists.txt": "f(a.cc sub/b.cc)\ng(${CMAKE_CURRENT_SOURCE_DIR}/c.cc)\n"
            "h(${CMAKE_SOURCE_DIR}/bench/d.cc)\n",
            "bench/d.cc": "",
            "src/rt/a.cc": "", "src/rt/sub/b.cc": "", "src/rt/c.cc": "",
            "build/x.cc": "assert(1)", "tests/fuzz/corpus/t/x.txt": "a ",
            "cmake/d.cc": "", "cmake/D.cmake": "h(${CMAKE_SOURCE_DIR}/cmake/d.cc)\n",
            "src/empty/CMakeLists.txt": "\n"}), [])

    def test_a_dead_file_is_found(self):
        problems = self.check({
            "src/rt/README.md": "# rt\n", "src/rt/CMakeLists.txt": "f(ab.cc)\n# a.cc\n",
            "src/rt/a.cc": "", "src/rt/ab.cc": ""})
        self.assertEqual(problems, ["src/rt/a.cc:1: no file of CMake's names this file"])

    def test_a_folder_with_code_needs_a_readme(self):
        problems = self.check({"src/rt/a.h": "", "src/rt/CMakeLists.txt": ""})
        self.assertEqual(len(problems), 1)
        self.assertTrue(problems[0].startswith("src/rt/README.md:1: missing"))

    def test_text_must_be_utf_8(self):
        self.assertEqual(self.check({"docs/x.md": b"# \xff\n"}), ["docs/x.md:1: not UTF-8"])


if __name__ == "__main__":
    unittest.main()
