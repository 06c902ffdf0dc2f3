#!/usr/bin/env python3
"""Every file includes what it uses of the standard library and of fmt, by itself or through our headers.

Builds take these headers precompiled (cmake/precompiled.h), so that the compiler does not miss them.

  includes.py --root DIR    prints PATH:LINE: PROBLEM; exit 1 if there is any
"""

import argparse
import pathlib
import re
import sys

import tidy

# Header, and names that it declares: of each header in cmake/precompiled.h those that say what a file is about.
NAMES = {
    "fmt/format.h": "fmt::format fmt::print fmt::join fmt::to_string fmt::runtime fmt::formatter",
    "array": "std::array std::to_array",
    "atomic": "std::atomic std::atomic_ref std::atomic_flag std::atomic_thread_fence std::atomic_signal_fence",
    "chrono": "std::chrono",
    "coroutine": "std::coroutine_handle std::suspend_always std::suspend_never std::noop_coroutine",
    "deque": "std::deque",
    "expected": "std::expected std::unexpected",
    "filesystem": "std::filesystem",
    "fstream": "std::ifstream std::ofstream std::fstream",
    "functional": "std::function std::move_only_function std::hash std::ref std::cref std::less std::greater",
    "map": "std::map std::multimap",
    "memory": "std::unique_ptr std::shared_ptr std::weak_ptr std::make_unique std::make_shared",
    "mutex": "std::mutex std::unique_lock std::lock_guard std::scoped_lock std::once_flag",
    "optional": "std::optional std::nullopt std::make_optional",
    "set": "std::set std::multiset",
    "span": "std::span",
    "string": "std::string std::to_string std::getline",
    "string_view": "std::string_view",
    "thread": "std::thread std::jthread std::this_thread",
    "unordered_map": "std::unordered_map",
    "variant": "std::variant std::visit std::get_if std::holds_alternative std::monostate",
    "vector": "std::vector",
    "bit": "std::bit_cast std::bit_ceil std::bit_width std::countr_zero std::countl_zero std::popcount std::has_single_bit",
    "charconv": "std::from_chars std::to_chars",
    "cmath": "std::floor std::ceil std::isfinite std::abs std::sqrt std::pow std::log std::llround",
    "concepts": "std::same_as std::integral std::invocable std::convertible_to std::derived_from",
    "condition_variable": "std::condition_variable std::cv_status",
    "cstdint": "std::uint8_t std::uint16_t std::uint32_t std::uint64_t std::int64_t std::int32_t std::uintptr_t",
    "cstdlib": "std::getenv std::strtol std::strtoull std::abort std::exit std::free std::malloc",
    "cstring": "std::memcpy std::memcmp std::memset std::memmove std::strlen std::strerror std::strcmp",
    "limits": "std::numeric_limits",
    "numeric": "std::accumulate std::iota std::midpoint std::gcd",
    "random": "std::mt19937_64 std::mt19937 std::random_device std::uniform_int_distribution",
    "stop_token": "std::stop_token std::stop_source",
    "system_error": "std::error_code std::errc std::system_error",
    "tuple": "std::tuple std::tie std::apply std::make_tuple",
    "type_traits": "std::is_same_v std::decay_t std::remove_cvref_t std::is_trivially_copyable_v std::conditional_t std::enable_if_t",
    "utility": "std::pair std::exchange std::as_const std::to_underlying std::unreachable std::index_sequence",
    "algorithm": "std::sort std::stable_sort std::find_if std::any_of std::all_of std::none_of std::count_if std::ranges",
}
HEADERS = {name: header for header, names in NAMES.items() for name in names.split()}
# What the standard lets another header bring along.
ALSO = {"nlohmann::json": {"nlohmann/json_fwd.hpp"}, "fmt::format": {"fmt/core.h"}, "fmt::print": {"fmt/core.h"}, "std::abs": {"cstdlib"}, "std::errc": {"charconv", "filesystem"},
        "std::error_code": {"filesystem"}, "std::hash": {"string", "memory", "optional", "variant"}, "std::less": {"map", "set"},
        "std::ranges": {"ranges"}, "std::string_view": {"string"}, "std::chrono": {"thread"},
        "std::mutex": {"condition_variable"}, "std::unique_lock": {"condition_variable"}}
# Everything in these namespaces is from one header.
SPACES = {"CLI": "CLI/CLI.hpp", "nlohmann": "nlohmann/json.hpp", "testing": "gtest/gtest.h"}
USE = re.compile(r"(?<![\w:])(?:std|fmt|CLI|nlohmann|testing)::(?!App\b)\w+")  # CLI::App is declared in advance
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.lines = {}  # of the code of each file
        self.closures = {}

    def code(self, path):
        if path not in self.lines:
            self.lines[path] = tidy.code_lines((self.root / path).read_text(encoding="utf-8"))
        return self.lines[path]

    def resolve(self, name, path):
        for folder in (path.parent, pathlib.Path("src"), pathlib.Path("tests"), pathlib.Path("include")):
            if (self.root / folder / name).is_file():
                return folder / name
        return None

    def included(self, path):
        """The foreign headers that a file includes, itself or through headers of ours."""
        if path in self.closures:
            return self.closures[path]
        found = self.closures[path] = set()
        for line in self.code(path):
            match = INCLUDE.match(line)
            if not match:
                continue
            ours = self.resolve(match.group(2), path) if match.group(1) == '"' else None
            if ours is None:
                found.add(match.group(2))
            else:
                found |= self.included(ours)
        return found

    def problems(self):
        for top in ("src", "tests", "bench"):
            for path in sorted((self.root / top).rglob("*")):
                if path.suffix not in (".cc", ".h"):
                    continue
                path = path.relative_to(self.root)
                included = self.included(path)
                missing = {}
                code = list(self.code(path))
                declared = {space for space in SPACES if f"namespace {space} {{" in code}
                for number, line in enumerate(code, 1):
                    for name in USE.findall(line):
                        space = name.partition("::")[0]
                        header = None if space in declared else HEADERS.get(name) or SPACES.get(space)
                        if header and not included & ({header} | ALSO.get(name, set())):
                            missing.setdefault(header, (number, name))
                for header, (number, name) in missing.items():
                    yield f"{path}:{number}: {name}: include <{header}>"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--root", default=".")
    problems = list(Tree(parser.parse_args().root).problems())
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
