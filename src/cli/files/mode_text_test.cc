#include "cli/files/mode_text.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace benchfs::cli {
namespace {

constexpr std::uint32_t kUmask = 022;

std::uint32_t file(std::string_view text, std::uint32_t mode) {
  return apply_mode(text, mode, false, kUmask).value_or(0xFFFF);
}

std::uint32_t directory(std::string_view text, std::uint32_t mode) {
  return apply_mode(text, mode, true, kUmask).value_or(0xFFFF);
}

// The expected modes are those that chmod(1) of GNU coreutils 9.1 makes.
TEST(ModeText, OctalNumbersReplaceEverything) {
  EXPECT_EQ(file("644", 0777), 0644U);
  EXPECT_EQ(file("4755", 0), 04755U);
  EXPECT_EQ(file("0", 07777), 0U);
}

TEST(ModeText, ChangesApplyOneAfterTheOther) {
  EXPECT_EQ(file("u+x,go-w", 0666), 0744U);
  EXPECT_EQ(file("a=r", 0777), 0444U);
  EXPECT_EQ(file("u=rwx,g=rx,o=", 0), 0750U);
  EXPECT_EQ(file("u+r-w", 0200), 0400U);
  EXPECT_EQ(file("g=u", 0640), 0660U);
  EXPECT_EQ(file("o+g", 0640), 0644U);
  EXPECT_EQ(file("u+s,g+s,+t", 0755), 07755U);
  EXPECT_EQ(file("u-s", 04755), 0755U);
}

TEST(ModeText, WithoutALetterTheUmaskIsLeftAlone) {
  EXPECT_EQ(file("+w", 0444), 0644U);
  EXPECT_EQ(file("-w", 0666), 0466U);
  EXPECT_EQ(file("=rw", 0777), 0644U);
  EXPECT_EQ(file("a+w", 0444), 0666U);
}

TEST(ModeText, ACapitalXIsForDirectoriesAndPrograms) {
  EXPECT_EQ(file("a+X", 0644), 0644U);
  EXPECT_EQ(file("a+X", 0744), 0755U);
  EXPECT_EQ(directory("a+X", 0644), 0755U);
}

TEST(ModeText, DirectoriesKeepSetIdBitsThatAreNotNamed) {
  EXPECT_EQ(directory("a=rx", 02755), 02555U);
  EXPECT_EQ(file("a=rx", 02755), 0555U);
  EXPECT_EQ(directory("g-s", 02755), 0755U);
}

TEST(ModeText, WhatIsNoModeIsRefused) {
  for (const char* text : {"", "u", "888", "10000", "u+q", "u*x", "u+x,", ",u+x", "x+u", "+ "}) {
    auto applied = apply_mode(text, 0644, false, kUmask);
    ASSERT_FALSE(applied) << text;
    EXPECT_TRUE(applied.error().is_posix(EINVAL));
  }
}

}  // namespace
}  // namespace benchfs::cli
