#include "base/config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace benchfs {
namespace {

struct Sample {
  std::string name = "a \"b\"";
  bool flag = true;
  std::uint64_t count = 7;
  std::uint64_t bytes = 4U << 20;
  Nanos wait = std::chrono::milliseconds(1500);
  std::size_t choice = 1;
  std::uint64_t id = 0;

  std::vector<Setting> settings() {
    return {
        text_setting({"first", "name", "A name."}, name),
        flag_setting({"first", "flag", "A flag."}, flag),
        number_setting({"first", "count", "A count."}, count, 1, 10, "pieces"),
        size_setting({"second", "bytes", "A size."}, bytes, 4096, std::uint64_t{1} << 30),
        time_setting(
            {"second", "wait_ms", "A time."}, wait, 0, 60000, {std::chrono::milliseconds(1), "ms"}),
        choice_setting({"second", "engine", "A choice."}, choice, {"file", "memory"}),
        hex_setting({"second", "id", "An identity."}, id, "hexadecimal"),
    };
  }
  Status load(std::string_view text) {
    BENCHFS_TRY(std::vector<ConfigEntry> entries, parse_config(text, "f.toml"));
    return apply_config(settings(), entries);
  }
};

std::string message(const Status& status) {
  return status ? "no error" : status.error().context;
}

TEST(Config, StoresEveryKindOfValue) {
  Sample sample;
  Status loaded = sample.load(
      "[first]\nname = 'x'\nflag = false\ncount = 10\n"
      "[second]\nbytes = \"64KiB\"\nwait_ms = 20\nengine = \"file\"\nid = \"ff\"\n");
  ASSERT_TRUE(loaded) << message(loaded);
  EXPECT_EQ(sample.name, "x");
  EXPECT_FALSE(sample.flag);
  EXPECT_EQ(sample.count, 10U);
  EXPECT_EQ(sample.bytes, 65536U);
  EXPECT_EQ(sample.wait, std::chrono::milliseconds(20));
  EXPECT_EQ(sample.choice, 0U);
  EXPECT_EQ(sample.id, 255U);
}

TEST(Config, WhatItPrintsReadsBackTheSame) {
  Sample sample;
  sample.id = 0x1234;
  sample.bytes = 4097;
  std::string printed = format_config(sample.settings());
  Sample copy;
  copy.name.clear();
  copy.bytes = 5000;
  copy.choice = 0;
  Status loaded = copy.load(printed);
  ASSERT_TRUE(loaded) << message(loaded) << printed;
  EXPECT_EQ(copy.name, sample.name);
  EXPECT_EQ(copy.bytes, sample.bytes);
  EXPECT_EQ(copy.choice, sample.choice);
  EXPECT_EQ(copy.id, sample.id);
}

TEST(Config, ACommandLineValueHasNoType) {
  Sample sample;
  std::vector<Setting> settings = sample.settings();
  std::vector<ConfigEntry> entries = {
      {"first", "name", {ConfigValue::Kind::kUntyped, "12"}, "--name"},
      {"first", "flag", {ConfigValue::Kind::kUntyped, "false"}, "--set"},
      {"first", "count", {ConfigValue::Kind::kUntyped, "3"}, "--count"},
  };
  ASSERT_TRUE(apply_config(settings, entries));
  EXPECT_EQ(sample.name, "12");
  EXPECT_FALSE(sample.flag);
  EXPECT_EQ(sample.count, 3U);
}

struct BadCase {
  const char* text;
  const char* begin;  // of the message
  const char* part;   // somewhere in it
};

TEST(Config, ErrorsNamePlaceKeyAndWhatIsAllowed) {
  const BadCase cases[] = {
      {"[first]\nname = \n", "f.toml:2:", ""},
      {"[first\n", "f.toml:1:", ""},
      {"name = 'x'\n", "f.toml:1:1: name", "section"},
      {"[first]\n\n  nmae = 'x'\n", "f.toml:3:3: unknown key nmae in [first]", "name, flag, count"},
      {"[thrid]\na = 1\n", "f.toml:2:1: unknown section [thrid]", "first, second"},
      {"[thrid]\n", "f.toml:1:", "unknown section [thrid]"},
      {"[first]\nname = 3\n", "f.toml:2:1: first.name", "text in quotes, not 3"},
      {"[first]\nflag = 1\n", "f.toml:2:1: first.flag", "true or false, not 1"},
      {"[first]\nflag = 'true'\n", "f.toml:2:1: first.flag", "true or false"},
      {"[first]\ncount = 0\n", "f.toml:2:1: first.count", "1 to 10 pieces, not 0"},
      {"[first]\ncount = -1\n", "f.toml:2:1: first.count", "not -1"},
      {"[first]\ncount = '3'\n", "f.toml:2:1: first.count", "not \"3\""},
      {"[first]\ncount = 1.5\n", "f.toml:2:1: first.count", "not 1.5"},
      {"[first]\ncount = [1]\n", "f.toml:2:1: first.count", "must be a text, a number"},
      {"[second]\nbytes = '4 parsecs'\n", "f.toml:2:1: second.bytes", "4KiB to 1GiB"},
      {"[second]\nbytes = '4KB'\n", "f.toml:2:1: second.bytes", "4KiB to 1GiB"},
      {"[second]\nbytes = 4095\n", "f.toml:2:1: second.bytes", "not 4095"},
      {"[second]\nbytes = '99999999999TiB'\n", "f.toml:2:1: second.bytes", "size"},
      {"[second]\nwait_ms = 60001\n", "f.toml:2:1: second.wait_ms", "60000 ms"},
      {"[second]\nengine = 'disk'\n", "f.toml:2:1: second.engine", "\"file\" | \"memory\""},
      {"[second]\nid = 'xyz'\n", "f.toml:2:1: second.id", "hexadecimal"},
      {"[second]\nid = '10000000000000000'\n", "f.toml:2:1: second.id", "hexadecimal"},
      {"[first]\nname = 'x'\nname = 'y'\n", "f.toml:3:", ""},
  };
  for (const BadCase& bad : cases) {
    Sample sample;
    Status loaded = sample.load(bad.text);
    ASSERT_FALSE(loaded) << bad.text;
    EXPECT_EQ(loaded.error().code, Errc::kConfig);
    EXPECT_TRUE(message(loaded).starts_with(bad.begin)) << message(loaded);
    EXPECT_NE(message(loaded).find(bad.part), std::string::npos) << message(loaded);
  }
}

TEST(Config, AFileThatCannotBeReadIsNamed) {
  auto missing = read_config_file("/nonexistent/f.toml");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().posix, ENOENT);
  EXPECT_NE(missing.error().context.find("/nonexistent/f.toml"), std::string::npos);
  auto directory = read_config_file("/");
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().posix, EISDIR);
}

TEST(Config, SizesAreReadAndWrittenExactly) {
  EXPECT_EQ(parse_size("4096").value(), 4096U);
  EXPECT_EQ(parse_size("4 GiB").value(), std::uint64_t{4} << 30);
  EXPECT_FALSE(parse_size("").has_value());
  EXPECT_FALSE(parse_size("GiB").has_value());
  EXPECT_FALSE(parse_size("-1KiB").has_value());
  EXPECT_EQ(format_size(1536), "1536");
  EXPECT_EQ(format_size(3U << 20), "3MiB");
  EXPECT_EQ(format_size(0), "0");
}

}  // namespace
}  // namespace benchfs
