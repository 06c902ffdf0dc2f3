// Truncations beside writes under way, in every interleaving: bytes of a write that a cut overtook
// never come back, and bytes of a write that began after it are never lost.
#include <algorithm>
#include <array>

#include "chunk/engine_fixture.h"

namespace benchfs::chunk {
namespace {

constexpr std::uint32_t kSpan = 9000;  // both writes lie below

struct WritePlan {
  std::uint32_t begin;
  std::uint32_t end;
  char letter;
};
// One goes direct where the engine can, the other through the page cache.
constexpr std::array<WritePlan, 2> kWrites{{{0, 8192, 'a'}, {2000, kSpan, 'b'}}};

// The allowed values of a byte change only at these offsets.
constexpr std::array<std::uint32_t, 6> kBorders{0, 1000, 2000, 4096, 8192, 8500};

enum class Step : std::uint8_t { kBegin0, kEnd0, kBegin1, kEnd1, kCut };

// One interleaving. Steps are numbered from 1; 0 is the time before.
struct Schedule {
  std::vector<Step> steps;
  std::vector<std::uint32_t> cuts;  // their sizes, in order
  std::array<bool, 2> commits{};    // the others are abandoned
  bool has_old_content = false;

  [[nodiscard]] std::string text() const {
    static constexpr std::array<const char*, 5> kNames{
        "begin a", "end a", "begin b", "end b", "cut"};
    std::string out = has_old_content ? "old content" : "empty";
    std::size_t cut = 0;
    for (Step step : steps) {
      out += fmt::format(", {}", kNames[static_cast<std::size_t>(step)]);
      if (step == Step::kCut) {
        out += fmt::format(" {}", cuts[cut++]);
      }
    }
    return out + fmt::format("; a {}, b {}", commits[0], commits[1]);
  }
};

class TruncationTest : public EngineTest {
 protected:
  void run(const Schedule& schedule) {
    ++inode_;
    wire::ChunkKey key{wire::InodeId{inode_}, 0};
    begun_ = {};
    committed_ = {};
    cuts_.clear();
    if (schedule.has_old_content) {
      ASSERT_TRUE(driver_->fill(key, 0, kSpan, 'o'));
    }
    std::size_t cut = 0;
    for (std::size_t i = 0; i < schedule.steps.size(); ++i) {
      switch (schedule.steps[i]) {
        case Step::kBegin0:
          begin(key, 0, i + 1);
          break;
        case Step::kBegin1:
          begin(key, 1, i + 1);
          break;
        case Step::kEnd0:
          end(0, schedule.commits[0], i + 1);
          break;
        case Step::kEnd1:
          end(1, schedule.commits[1], i + 1);
          break;
        case Step::kCut:
          cuts_.emplace_back(i + 1, schedule.cuts[cut]);
          ASSERT_TRUE(driver_->truncate(key.inode, schedule.cuts[cut++]));
          break;
      }
    }
    ASSERT_TRUE(driver_->fill(key, kSpan + 1000, 1, 'z'));
    std::vector<std::byte> bytes = driver_->read(key, 0, kSpan);
    ASSERT_EQ(bytes.size(), kSpan);
    std::string allowed;
    for (std::uint32_t at = 0; at < kSpan; ++at) {
      if (std::ranges::find(kBorders, at) != kBorders.end()) {
        allowed = allowed_at(schedule, at);
      }
      ASSERT_NE(allowed.find(static_cast<char>(bytes[at])), std::string::npos)
          << "byte " << at << " is '" << static_cast<char>(bytes[at]) << "' (0 is shown as NUL)";
    }
    ASSERT_TRUE(driver_->truncate(key.inode, 0));
  }

 private:
  void begin(wire::ChunkKey key, std::size_t which, std::size_t step) {
    const WritePlan& plan = kWrites[which];
    Result<WriteLease> lease = shard_.reactor().block_on(driver_->store().begin_write(
        key, plan.begin, plan.end - plan.begin, Deadline::after(Nanos{0})));
    if (lease) {
      leases_[which] = *std::move(lease);
      begun_[which] = step;
    } else {  // the memory engine lets it wait for the write that was cut
      ASSERT_TRUE(is_memory());
      ASSERT_EQ(lease.error().code, Errc::kDeadline);
    }
  }
  // The network fills the memory late.
  void end(std::size_t which, bool commits, std::size_t step) {
    if (begun_[which] == 0) {
      return;
    }
    WriteLease lease = std::move(leases_[which]);
    std::ranges::fill(lease.bytes(), static_cast<std::byte>(kWrites[which].letter));
    if (commits) {
      ASSERT_TRUE(driver_->commit(std::move(lease)));
      committed_[which] = step;
    }
  }

  // True when the other write had stored bytes beyond `at` before `which` began.
  [[nodiscard]] bool was_below_end(const Schedule& schedule,
                                   std::size_t which,
                                   std::uint32_t at) const {
    std::size_t other = 1 - which;
    return schedule.commits[other] && committed_[other] != 0 && committed_[other] < begun_[which] &&
           at < kWrites[other].end;
  }

  // The values that the byte may have at the end.
  [[nodiscard]] std::string allowed_at(const Schedule& schedule, std::uint32_t at) const {
    std::size_t last_cut = 0;
    bool is_cut = false;
    for (auto [step, size] : cuts_) {
      if (size <= at) {
        last_cut = step;
        is_cut = true;
      }
    }
    std::string allowed;
    bool is_stored = schedule.has_old_content && !is_cut;
    for (std::size_t i = 0; i < kWrites.size(); ++i) {
      bool is_here = kWrites[i].begin <= at && at < kWrites[i].end && begun_[i] > last_cut;
      is_stored |= is_here && schedule.commits[i];
    }
    int writers = 0;
    bool all_commit = true;
    for (std::size_t i = 0; i < kWrites.size(); ++i) {
      if (kWrites[i].begin <= at && at < kWrites[i].end && begun_[i] > last_cut) {
        ++writers;
        all_commit &= schedule.commits[i];
        // An abandoned write may tear what is below the end, and never shows beyond it.
        if (schedule.commits[i] || is_stored || (is_memory() && was_below_end(schedule, i, at))) {
          allowed += kWrites[i].letter;
        }
      }
    }
    if (schedule.has_old_content && !is_cut && (writers == 0 || !all_commit)) {
      allowed += 'o';
    }
    if (!is_stored) {
      allowed += '\0';
    }
    return allowed;
  }

  std::uint64_t inode_ = 100;
  std::array<WriteLease, 2> leases_;
  std::array<std::size_t, 2> begun_{};                       // step; 0: not begun
  std::array<std::size_t, 2> committed_{};                   // step; 0: not
  std::vector<std::pair<std::size_t, std::uint32_t>> cuts_;  // step and size
};

// All orders in which two writes begin and end.
std::vector<std::vector<Step>> write_orders() {
  using enum Step;
  return {{kBegin0, kEnd0, kBegin1, kEnd1},
          {kBegin0, kBegin1, kEnd0, kEnd1},
          {kBegin0, kBegin1, kEnd1, kEnd0},
          {kBegin1, kBegin0, kEnd0, kEnd1},
          {kBegin1, kBegin0, kEnd1, kEnd0},
          {kBegin1, kEnd1, kBegin0, kEnd0}};
}

template <typename Visit>
void for_each_outcome(Schedule schedule, Visit visit) {
  for (unsigned bits = 0; bits < 8; ++bits) {
    schedule.commits = {(bits & 1) != 0, (bits & 2) != 0};
    schedule.has_old_content = (bits & 4) != 0;
    visit(schedule);
  }
}

TEST_P(TruncationTest, OneCutAnywhereAmongTwoWrites) {
  for (const std::vector<Step>& order : write_orders()) {
    for (std::size_t at = 0; at <= order.size(); ++at) {
      for (std::uint32_t size : {0U, 1000U, 4096U, 8500U, kSlot}) {
        Schedule schedule{.steps = order, .cuts = {size}};
        schedule.steps.insert(schedule.steps.begin() + static_cast<std::ptrdiff_t>(at), Step::kCut);
        for_each_outcome(schedule, [this](const Schedule& one) {
          if (!HasFatalFailure()) {
            SCOPED_TRACE(one.text());
            run(one);
          }
        });
      }
    }
  }
}

TEST_P(TruncationTest, TwoCutsAnywhereAmongTwoWrites) {
  using Sizes = std::vector<std::uint32_t>;
  for (const std::vector<Step>& order : write_orders()) {
    for (std::size_t first = 0; first <= order.size(); ++first) {
      for (std::size_t second = first; second <= order.size(); ++second) {
        for (const Sizes& sizes : {Sizes{1000, 4096}, Sizes{4096, 0}}) {
          Schedule schedule{.steps = order, .cuts = sizes};
          auto insert = [&schedule](std::size_t at) {
            schedule.steps.insert(schedule.steps.begin() + static_cast<std::ptrdiff_t>(at),
                                  Step::kCut);
          };
          insert(second);
          insert(first);
          for_each_outcome(schedule, [this](const Schedule& one) {
            if (!HasFatalFailure()) {
              SCOPED_TRACE(one.text());
              run(one);
            }
          });
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, TruncationTest, all_engines(), engine_name);

}  // namespace
}  // namespace benchfs::chunk
