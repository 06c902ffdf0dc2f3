// The checker accepts what docs/semantics.md allows and rejects everything else.
#include "history/checker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <sstream>

#include "base/random.h"

namespace benchfs::history {
namespace {

constexpr std::uint64_t kInode = 7;
constexpr std::uint64_t kOther = 8;

// Histories written by hand: each operation begins and ends at a given moment.
class Checker : public testing::Test {
 protected:
  Operation& add(Kind kind, std::int64_t begin, std::int64_t end, std::int64_t result = 0) {
    Operation& operation = history_.emplace_back();
    operation.id = static_cast<std::uint32_t>(history_.size()) | 0x10000U;
    operation.kind = kind;
    operation.begin = begin;
    operation.end = end;
    operation.result = result;
    return operation;
  }
  Operation& on(const std::string& path,
                Kind kind,
                std::int64_t begin,
                std::int64_t end,
                std::int64_t result = 0) {
    Operation& operation = add(kind, begin, end, result);
    operation.path = path;
    return operation;
  }
  Operation& create(const std::string& path,
                    std::uint64_t inode,
                    std::int64_t begin,
                    std::int64_t end) {
    Operation& operation = on(path, Kind::kOpen, begin, end);
    operation.flags = kCreate | kExclusive;
    operation.inode = inode;
    return operation;
  }
  Operation& stat(const std::string& path,
                  std::uint64_t inode,
                  std::int64_t begin,
                  std::int64_t end) {
    Operation& operation = on(path, Kind::kStat, begin, end);
    operation.inode = inode;
    return operation;
  }
  Operation& missing(const std::string& path, std::int64_t begin, std::int64_t end) {
    return on(path, Kind::kStat, begin, end, -ENOENT);
  }
  Operation& rename(const std::string& from,
                    const std::string& to,
                    std::int64_t begin,
                    std::int64_t end,
                    std::int64_t result = 0) {
    Operation& operation = on(from, Kind::kRename, begin, end, result);
    operation.target = to;
    return operation;
  }
  Operation& of_file(Kind kind, std::int64_t begin, std::int64_t end, std::int64_t result = 0) {
    Operation& operation = add(kind, begin, end, result);
    operation.inode = kInode;
    return operation;
  }
  Operation& write(std::int64_t offset, std::int64_t length, std::int64_t begin, std::int64_t end) {
    Operation& operation = of_file(Kind::kWrite, begin, end, length);
    operation.offset = offset;
    operation.length = length;
    return operation;
  }
  Operation& truncate(std::int64_t size, std::int64_t begin, std::int64_t end) {
    Operation& operation = of_file(Kind::kFileTruncate, begin, end);
    operation.length = size;
    return operation;
  }
  Operation& append(std::int64_t length, std::int64_t size, std::int64_t begin, std::int64_t end) {
    Operation& operation = of_file(Kind::kAppend, begin, end, length);
    operation.length = length;
    operation.size = size;
    return operation;
  }
  Operation& size(std::int64_t size, std::int64_t begin, std::int64_t end) {
    Operation& operation = of_file(Kind::kFileStat, begin, end);
    operation.size = size;
    return operation;
  }
  // Reads `blocks` whole blocks from the start, each all of one writer.
  Operation& read(const std::vector<std::uint32_t>& blocks, std::int64_t begin, std::int64_t end) {
    auto length = static_cast<std::int64_t>(blocks.size()) * kBlock;
    Operation& operation = of_file(Kind::kRead, begin, end, length);
    operation.length = length;
    for (std::uint32_t sample = 0; sample < blocks.size() * kSamplesOfBlock; ++sample) {
      operation.tags.emplace_back(sample, blocks[sample / kSamplesOfBlock]);
    }
    return operation;
  }

  std::vector<std::string> violations() { return check_round(history_, {}, {}).violations; }
  void accepted() { EXPECT_EQ(violations(), std::vector<std::string>()); }
  void rejected() { EXPECT_EQ(violations().size(), 1U); }

  std::vector<Operation> history_;
};

TEST_F(Checker, AcceptsNamesInTheOrderOfTheirTimes) {
  on("a", Kind::kMakeDirectory, 1, 2);
  missing("a/x", 3, 4);
  create("a/x", kInode, 5, 6);
  stat("a/x", kInode, 7, 8);
  rename("a/x", "a/y", 9, 10);
  missing("a/x", 11, 12);
  on("a/y", Kind::kUnlink, 13, 14);
  missing("a/y", 15, 16);
  on("a", Kind::kRemoveDirectory, 17, 18);
  accepted();
}

TEST_F(Checker, AcceptsEitherOrderOfWhatOverlaps) {
  create("x", kInode, 1, 2);
  on("x", Kind::kUnlink, 3, 10);
  stat("x", kInode, 4, 5);
  missing("x", 6, 7);
  accepted();
}

TEST_F(Checker, RejectsANameThatIsMissingAfterItsCreation) {
  create("x", kInode, 1, 2);
  missing("x", 3, 4);
  rejected();
}

TEST_F(Checker, RejectsANameThatComesBack) {
  create("x", kInode, 1, 2);
  on("x", Kind::kUnlink, 3, 10);
  missing("x", 4, 5);
  stat("x", kInode, 6, 7);
  rejected();
}

TEST_F(Checker, RejectsTwoExclusiveCreations) {
  create("x", kInode, 1, 10);
  create("x", kOther, 1, 10);
  rejected();
}

TEST_F(Checker, RejectsAnInodeThatIsCreatedTwice) {
  create("x", kInode, 1, 2);
  on("x", Kind::kUnlink, 3, 4);
  create("x", kInode, 5, 6);
  rejected();
}

TEST_F(Checker, RejectsAReplacedNameThatIsMissingForAMoment) {
  create("x", kInode, 1, 2);
  create("y", kOther, 3, 4);
  rename("y", "x", 5, 20);
  missing("x", 6, 7);
  rejected();
}

TEST_F(Checker, RejectsARenameThatShowsBothNames) {
  create("x", kInode, 1, 2);
  rename("x", "y", 3, 20);
  stat("y", kInode, 4, 5);
  stat("x", kInode, 6, 7);
  rejected();
}

TEST_F(Checker, AcceptsAnOperationThatWasNeverAnsweredAsDoneOrNot) {
  create("x", kInode, 1, 2);
  on("x", Kind::kUnlink, 3, kNever);
  stat("x", kInode, 10, 11);
  accepted();
  missing("x", 100, 101);
  accepted();
}

TEST_F(Checker, RejectsAnOperationThatWasNeverAnsweredAsDoneTwice) {
  create("x", kInode, 1, 2);
  on("x", Kind::kUnlink, 3, kNever);
  missing("x", 10, 11);
  create("x", kOther, 12, 13);
  missing("x", 14, 15);
  rejected();
}

TEST_F(Checker, TreatsATimeoutAsAnUnknownOutcome) {
  create("x", kInode, 1, 2);
  on("x", Kind::kUnlink, 3, 4, -ETIMEDOUT);
  stat("x", kInode, 10, 11);
  missing("x", 100, 101);
  accepted();
}

TEST_F(Checker, LearnsTheInodeOfACreationThatWasNeverAnswered) {
  create("x", 0, 1, kNever);
  stat("x", kInode, 5, 6);
  stat("x", kInode, 7, 8);
  accepted();
  stat("x", kOther, 9, 10);
  rejected();
}

TEST_F(Checker, FollowsADirectoryThatIsRenamed) {
  on("p", Kind::kMakeDirectory, 1, 2);
  create("p/x", kInode, 3, 4);
  rename("p", "q", 5, 6);
  stat("q/x", kInode, 7, 8);
  missing("p/x", 9, 10);
  on("q", Kind::kRemoveDirectory, 11, 12, -ENOTEMPTY);
  accepted();
}

TEST_F(Checker, RejectsAnOldDirectoryNameAfterItsRename) {
  on("p", Kind::kMakeDirectory, 1, 2);
  create("p/x", kInode, 3, 4);
  rename("p", "q", 5, 6);
  on("p", Kind::kMakeDirectory, 7, 8);
  on("p/x", Kind::kUnlink, 9, 10);  // has removed q/x
  rejected();
}

TEST_F(Checker, AcceptsAnOldDirectoryNameUntilItsRenameIsAnswered) {
  on("p", Kind::kMakeDirectory, 1, 2);
  create("p/x", kInode, 3, 4);
  rename("p", "q", 5, 20);
  stat("q/x", kInode, 6, 7);
  stat("p/x", kInode, 8, 9);
  missing("p/y", 10, 11);
  accepted();
  stat("p/x", kInode, 21, 22);
  rejected();
}

TEST_F(Checker, AcceptsAPathThatIsUsedWhileItsDirectoryIsRenamed) {
  on("p", Kind::kMakeDirectory, 1, 2);
  create("p/x", kInode, 3, 20);
  rename("p", "q", 4, 10);
  missing("q/x", 11, 12);
  stat("q/x", kInode, 21, 22);
  accepted();
}

TEST_F(Checker, AcceptsARenameOfANameToItselfWhileItsDirectoryIsRenamed) {
  on("p", Kind::kMakeDirectory, 1, 2);
  create("p/x", kInode, 3, 4);
  rename("p", "q", 5, kNever);
  rename("p/x", "q/x", 6, 7);
  on("q/x", Kind::kUnlink, 8, 9);
  accepted();
}

TEST_F(Checker, RejectsAListingWithoutAnEntryThatIsThere) {
  on("a", Kind::kMakeDirectory, 1, 2);
  create("a/x", kInode, 3, 4);
  on("a", Kind::kList, 5, 6).entries["x"] = kInode;
  accepted();
  on("a", Kind::kList, 7, 8);
  rejected();
}

TEST_F(Checker, AcceptsSizesAndBytesInTheOrderOfTheirTimes) {
  std::uint32_t first = write(0, 2 * kBlock, 1, 2).id;
  size(2 * kBlock, 3, 4);
  std::uint32_t second = write(kBlock, kBlock, 5, 6).id;
  read({first, second}, 7, 8);
  truncate(kBlock, 9, 10);
  size(kBlock, 11, 12);
  truncate(3 * kBlock, 13, 14);
  read({first, kHole, kHole}, 15, 16);
  accepted();
}

TEST_F(Checker, RejectsASizeThatMissesAnAcknowledgedWrite) {
  write(0, kBlock, 1, 2);
  size(0, 3, 4);
  rejected();
}

TEST_F(Checker, RejectsBytesThatWereCutAndComeBack) {
  std::uint32_t first = write(0, 2 * kBlock, 1, 2).id;
  truncate(kBlock, 3, 4);
  truncate(2 * kBlock, 5, 6);
  read({first, first}, 7, 8);
  rejected();
}

TEST_F(Checker, RejectsZerosInPlaceOfAcknowledgedBytes) {
  std::uint32_t first = write(0, 2 * kBlock, 1, 2).id;
  read({first, kHole}, 3, 4);
  rejected();
}

TEST_F(Checker, RejectsBytesOfAnOlderWrite) {
  std::uint32_t first = write(0, kBlock, 1, 2).id;
  write(0, kBlock, 3, 4);
  read({first}, 5, 6);
  rejected();
}

TEST_F(Checker, RejectsBytesOfAWriteToAnotherFile) {
  write(0, kBlock, 1, 2);
  Operation& other = write(0, kBlock, 3, 4);
  other.inode = kOther;
  read({other.id}, 5, 6);
  rejected();
}

TEST_F(Checker, RejectsBytesThatNobodyWrote) {
  write(0, kBlock, 1, 2);
  read({kGarbage}, 3, 4);
  rejected();
}

TEST_F(Checker, AcceptsALargeWriteThatIsSeenInParts) {
  std::uint32_t first = write(0, 2 * kChunk, 1, 20).id;
  size(kChunk, 2, 3);
  size(2 * kChunk, 4, 5);
  auto& late = read(std::vector<std::uint32_t>(16, kHole), 2, 7);
  for (std::size_t i = 8 * kSamplesOfBlock; i < late.tags.size(); ++i) {
    late.tags[i].second = first;
  }
  accepted();
}

TEST_F(Checker, AcceptsAWriteUnderWayThatIsSeenInPartThenCutAndMadeAgain) {
  std::uint32_t old = write(0, 2 * kBlock, 1, 2).id;
  std::uint32_t cut = write(0, 2 * kBlock, 3, 20).id;
  read({cut, old}, 4, 5);
  truncate(0, 6, 7);
  size(0, 8, 9);
  read({cut, cut}, 21, 22);
  accepted();
}

TEST_F(Checker, AcceptsWhatAWriterLeftThatWasKilled) {
  std::uint32_t old = write(0, 2 * kBlock, 1, 2).id;
  std::uint32_t killed = write(0, 2 * kBlock, 3, kNever).id;
  read({killed, old}, 4, 5);
  read({killed, old}, 6, 7);
  accepted();
}

TEST_F(Checker, RejectsBytesOfAWriteThatComeBackAfterItWasAnswered) {
  std::uint32_t first = write(0, kBlock, 1, 10).id;
  read({first}, 2, 3);
  write(0, kBlock, 11, 12);
  read({first}, 13, 14);
  rejected();
}

TEST_F(Checker, RejectsBytesBeyondTheEndThatAreSeenBeforeAndCut) {
  std::uint32_t first = write(0, kBlock, 1, 10).id;
  read({first}, 2, 3);
  truncate(0, 4, 5);
  read({first}, 11, 12);
  rejected();
}

TEST_F(Checker, AcceptsAWriteThatTakesEffectTwiceOnlyIfItsClientMayHaveBeenForgotten) {
  std::uint32_t first = write(0, kBlock, 1, 100).id;
  size(kBlock, 2, 3);
  truncate(0, 4, 5);
  size(0, 6, 7);
  read({first}, 101, 102);
  rejected();
  EXPECT_EQ(check_round(history_, {}, {.grace = Nanos(50)}).violations, std::vector<std::string>());
  EXPECT_EQ(check_round(history_, {}, {.grace = Nanos(100)}).violations.size(), 1U);
}

TEST_F(Checker, RejectsTwoAppendsInOnePlace) {
  append(kBlock, kBlock, 1, 10);
  append(kBlock, kBlock, 1, 10);
  rejected();
}

TEST_F(Checker, AcceptsAppendsThatOverlapInTime) {
  std::uint32_t first = append(kBlock, 2 * kBlock, 1, 10).id;
  std::uint32_t second = append(kBlock, kBlock, 1, 10).id;
  read({second, first}, 11, 12);
  accepted();
}

TEST_F(Checker, AcceptsAnAppendThatATruncationOvertookAsDoneBefore) {
  std::uint32_t first = write(0, kBlock, 1, 2).id;
  std::uint32_t cut = append(2 * kBlock, 3 * kBlock, 3, 20).id;
  size(3 * kBlock, 4, 5);
  read({first, kHole, cut}, 6, 7);  // the other part is on its way
  truncate(2 * kBlock, 8, 9);
  size(2 * kBlock, 10, 11);
  read({first, kHole}, 12, 13);
  read({first, cut}, 21, 22);
  accepted();
  read({first, kHole}, 23, 24);
  rejected();
}

TEST_F(Checker, RejectsAnAppendThatIsSeenInTwoPlaces) {
  std::uint32_t first = write(0, 2 * kBlock, 1, 2).id;
  std::uint32_t moved = append(kBlock, 2 * kBlock, 3, 20).id;
  read({first, first, moved}, 4, 5);
  truncate(kBlock, 6, 7);
  read({first, moved}, 21, 22);
  rejected();
}

TEST_F(Checker, AcceptsAnAppendOfWhichEachChunkShowsByItself) {
  write(0, kChunk - kBlock, 1, 2);
  std::uint32_t appended = append(2 * kBlock, kChunk + kBlock, 3, 20).id;
  auto late = [&](std::uint32_t before, std::int64_t begin) {
    auto& seen = read(std::vector<std::uint32_t>(9, history_.front().id), begin, begin + 1);
    for (auto& [sample, tag] : seen.tags) {
      if (sample >= 7 * kSamplesOfBlock) {
        tag = sample >= 8 * kSamplesOfBlock ? appended : before;
      }
    }
  };
  late(kHole, 4);
  late(kHole, 6);
  late(appended, 21);
  accepted();
  late(kHole, 23);
  rejected();
}

TEST_F(Checker, AcceptsZerosInTheRangeOfAnAppendThatWasNeverAnswered) {
  append(kBlock, -1, 1, kNever);
  size(kBlock, 2, 3);
  read({kHole}, 4, 5);
  accepted();
}

TEST_F(Checker, RejectsAnOpenFileThatIsGivenUpWhileItHasAName) {
  create("x", kInode, 1, 2);
  write(0, kBlock, 3, 4).result = -ESTALE;
  accepted();
  stat("x", kInode, 5, 6);
  rejected();
}

TEST_F(Checker, ShowsTheAnswersThatCannotBeTrueAndWhatCameBefore) {
  for (int i = 0; i < 50; ++i) {
    write(0, kBlock, 10 * i, 10 * i + 1);
    size(kBlock, 10 * i + 2, 10 * i + 3);
  }
  write(kBlock, kBlock, 600, 601);
  size(kBlock, 602, 603);
  for (int i = 70; i < 90; ++i) {
    write(0, kBlock, 10 * i, 10 * i + 1);
  }
  std::vector<std::string> found = violations();
  ASSERT_EQ(found.size(), 1U);
  std::istringstream lines(found.front());
  int marked = 0;
  for (std::string line; std::getline(lines, line);) {
    marked += line.starts_with('>') ? 1 : 0;
  }
  EXPECT_EQ(marked, 1) << found.front();
  EXPECT_NE(found.front().find("fstat inode 0x7 -> 0, size 8192"), std::string::npos);
}

TEST_F(Checker, ReadsWhatClientsWriteDown) {
  Operation written = write(16, 32, 1, 2);
  written.path = "a/x";
  written.size = 48;
  written.tags = {{0, 5}, {3, kGarbage}};
  written.entries = {{"x", 9}};
  std::string lines = begin_line(written) + end_line(written);
  std::vector<Operation> got;
  parse(lines + begin_line(written).substr(0, 9), got);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(begin_line(got[0]) + end_line(got[0]), lines);
  got.clear();
  parse(begin_line(written), got);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_FALSE(got[0].has_ended());
}

TEST_F(Checker, EveryCellNamesItsWriterAndItsPlace) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(2 * kBlock));
  fill(bytes, kBlock, 42);
  for (auto [sample, tag] : tags_of(bytes, kBlock)) {
    EXPECT_EQ(tag, 42U) << sample;
  }
  EXPECT_EQ(tag_of(bytes.data(), 0), kGarbage) << "it belongs elsewhere";
  bytes[100] ^= std::byte{1};
  auto tags = tags_of(bytes, kBlock);
  ASSERT_EQ(tags.size(), 2 * kSamplesOfBlock);
  EXPECT_EQ(tags[1].second, kGarbage);
  EXPECT_EQ(tags[kSamplesOfBlock].second, 42U);
  fill_append(bytes, 43);
  EXPECT_EQ(tag_of(&bytes[16], 4096), 43U);
}

// A sequential run, recorded with random intervals around the true moments, has an explanation;
// with one answer changed it has none.
TEST_F(Checker, ManyClientsOnOneFileAreDecidedQuickly) {
  Random random(1);
  std::int64_t now = 1000;
  std::int64_t size_now = 0;
  std::size_t last_size = 0;
  for (int i = 0; i < 600; ++i) {
    now += 10;
    std::int64_t begin = now - static_cast<std::int64_t>(random.below(40));
    std::int64_t end = now + static_cast<std::int64_t>(random.below(40));
    switch (random.below(3)) {
      case 0: {
        auto offset = static_cast<std::int64_t>(random.below(20)) * kBlock;
        write(offset, kBlock, begin, end);
        size_now = std::max(size_now, offset + kBlock);
        break;
      }
      case 1:
        size_now = static_cast<std::int64_t>(random.below(20)) * kBlock;
        truncate(size_now, begin, end);
        break;
      default:
        size(size_now, begin, end);
        last_size = history_.size() - 1;
    }
  }
  Report report = check_round(history_, {}, {});
  EXPECT_EQ(report.violations, std::vector<std::string>());
  EXPECT_EQ(report.undecided, 0U);
  history_[last_size].size += 1;
  rejected();
}

}  // namespace
}  // namespace benchfs::history
