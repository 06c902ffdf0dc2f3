#include "chunk/present_pages.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "chunk/mapping.h"

namespace benchfs::chunk {
namespace {

constexpr auto kPage = static_cast<std::uint32_t>(kPageBytes);

TEST(PresentPages, FromTheBeginningToTheFirstGap) {
  PresentPages pages;
  EXPECT_EQ(pages.end(), 0U);
  pages.add({0, 10});
  EXPECT_EQ(pages.end(), 10U);
  pages.add({100, 200});  // of the same page
  EXPECT_EQ(pages.end(), 200U);
  pages.add({2 * kPage, 3 * kPage});
  EXPECT_EQ(pages.end(), 200U);
  pages.add({kPage, kPage + 1});
  EXPECT_EQ(pages.end(), 3 * kPage);
}

TEST(PresentPages, MemoryThatWasGivenBackIsNotThere) {
  PresentPages pages;
  pages.add({0, 4 * kPage});
  pages.add({70 * kPage, 80 * kPage});
  pages.cut(72 * kPage);
  pages.cut(2 * kPage);
  EXPECT_EQ(pages.end(), 2 * kPage);
  pages.add({2 * kPage, 70 * kPage});
  EXPECT_EQ(pages.end(), 70 * kPage);
  pages.add({70 * kPage, 70 * kPage + 1});
  EXPECT_EQ(pages.end(), 70 * kPage + 1);
}

TEST(PresentPages, AgreeWithATableOfPages) {
  constexpr std::uint32_t kPages = 200;
  Random random(7);
  for (int round = 0; round < 200; ++round) {
    PresentPages pages;
    std::vector<bool> is_there(kPages + 1);
    for (int step = 0; step < 300; ++step) {
      auto page = static_cast<std::uint32_t>(random.below(kPages));
      if (random.below(50) == 0) {
        pages.cut(page * kPage);
        std::fill(is_there.begin() + page, is_there.end(), false);
      } else {
        auto last = page + static_cast<std::uint32_t>(random.below(std::min(kPages - page, 4U)));
        pages.add({page * kPage + 1, (last + 1) * kPage});
        std::fill(is_there.begin() + page, is_there.begin() + last + 1, true);
      }
      auto gap = std::find(is_there.begin(), is_there.end(), false) - is_there.begin();
      ASSERT_EQ(pages.end(), static_cast<std::uint32_t>(gap) * kPage);
    }
  }
}

}  // namespace
}  // namespace benchfs::chunk
