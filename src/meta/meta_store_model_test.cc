// Random operations on the store and on a plain model of it must give the same answers.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/random.h"
#include "meta/test_support.h"

namespace benchfs::meta {
namespace {

constexpr int kOperations = 60'000;
constexpr std::uint64_t kFreezer = 1;

struct ModelInode {
  std::uint32_t type = S_IFREG;
  std::uint32_t nlink = 1;
  std::uint64_t size = 0;
  std::uint64_t truncation = 0;
  bool is_linkable = false;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> opens;  // (client, number)

  [[nodiscard]] bool is_open() const { return !opens.empty(); }
  [[nodiscard]] bool has_writers() const {
    for (const auto& [key, flags] : opens) {
      if ((flags & wire::kOpenWrite) != 0) {
        return true;
      }
    }
    return false;
  }
};

class MetaStoreModelTest : public testing::Test {
 protected:
  MetaStoreModelTest() {
    apply(MakeRoot{0, 0, 1});
    inodes_[wire::kRootInode] = {.type = S_IFDIR};
    // Directories made on the way join them.
    parents_ = {wire::kRootInode,
                wire::InodeId::make(wire::ShardId{1}, 5),
                wire::InodeId::make(wire::ShardId{2}, 5),
                wire::InodeId::make(wire::ShardId{3}, 5)};
  }

  // Carries a change out, and keeps it when it was.
  template <typename C>
  typename C::Outcome apply(C change) {
    if constexpr (requires { change.name; }) {
      change.name = *names_.insert(std::string(change.name)).first;
    }
    if constexpr (requires { change.value; }) {
      change.value = *names_.insert(std::string(change.value)).first;
    }
    if constexpr (requires { change.kept; }) {
      change.kept = lists_.emplace_back(change.kept.begin(), change.kept.end());
    }
    if constexpr (std::is_void_v<typename C::Outcome>) {
      store_.apply(change);
      changes_.emplace_back(change);
    } else {
      auto outcome = store_.apply(change);
      if constexpr (requires { outcome.error(); }) {
        if (!outcome) {
          return outcome;
        }
      }
      changes_.emplace_back(change);
      return outcome;
    }
  }

  std::string random_name() {
    // Few names of one directory, many of another: both collisions and wide directories.
    return fmt::format("{:x}", mix64(random_.below(random_.below(2) == 0 ? 20 : 3000)));
  }
  wire::InodeId random_parent() { return parents_[random_.below(parents_.size())]; }
  wire::InodeId random_inode() {
    return wire::InodeId::make(kHere, 1 + random_.below(last_inode_.counter() + 2));
  }

  int expected_parent_error(wire::InodeId parent) const {
    if (removed_.contains(parent)) {
      return ESTALE;
    }
    if (parent.home() != kHere) {
      return 0;
    }
    auto inode = inodes_.find(parent);
    if (inode == inodes_.end() || inode->second.nlink == 0) {
      return ESTALE;
    }
    return inode->second.type == S_IFDIR ? 0 : ENOTDIR;
  }
  bool frozen(wire::InodeId parent) const {
    auto until = frozen_.find(parent);
    return until != frozen_.end() && now_ < until->second;
  }
  bool model_has_entries(wire::InodeId parent) const {
    auto first = entries_.lower_bound({parent, ""});
    return first != entries_.end() && first->first.first == parent;
  }

  void do_create() {
    wire::InodeId parent = random_parent();
    std::string name = random_name();
    bool directory = random_.below(20) == 0;
    auto made = apply(Create{parent, name, directory ? new_directory() : new_file(), 5, now_});
    if (int error = expected_parent_error(parent); error != 0) {
      ASSERT_EQ(errno_of(made), error);
    } else if (frozen(parent)) {
      ASSERT_TRUE(is_busy(made));
    } else if (entries_.contains({parent, name})) {
      ASSERT_EQ(errno_of(made), EEXIST);
    } else {
      ASSERT_TRUE(made.has_value()) << made.error().message();
      ASSERT_GT(made->id(), last_inode_);
      last_inode_ = made->id();
      std::uint32_t type = directory ? S_IFDIR : S_IFREG;
      entries_[{parent, name}] = {made->id(), type};
      inodes_[made->id()] = {.type = type};
      if (directory) {
        parents_.push_back(made->id());
      }
    }
  }

  void do_find() {
    wire::InodeId parent = random_parent();
    std::string name = random_name();
    auto found = store_.find(parent, name);
    auto entry = entries_.find({parent, name});
    if (int error = expected_parent_error(parent); error != 0) {
      ASSERT_EQ(errno_of(found), error);
    } else if (entry == entries_.end()) {
      ASSERT_EQ(errno_of(found), ENOENT);
    } else {
      ASSERT_TRUE(found.has_value());
      ASSERT_EQ(*found, entry->second);
    }
  }

  void do_put() {
    wire::InodeId parent = random_parent();
    std::string name = random_name();
    Entry entry{wire::InodeId::make(wire::ShardId{1}, 1 + random_.below(1000)), S_IFREG};
    auto put = apply(PutEntry{parent, name, entry, 1, now_});
    if (int error = expected_parent_error(parent); error != 0) {
      ASSERT_EQ(errno_of(put), error);
    } else if (frozen(parent)) {
      ASSERT_TRUE(is_busy(put));
    } else {
      ASSERT_TRUE(put.has_value());
      entries_[{parent, name}] = entry;
    }
  }

  void do_remove() {
    wire::InodeId parent = random_parent();
    std::string name = random_name();
    bool existed = entries_.erase({parent, name}) > 0;
    ASSERT_EQ(errno_of(apply(RemoveEntry{parent, name, 1})), existed ? 0 : ENOENT);
  }

  void do_unlink() {
    wire::InodeId id = random_inode();
    bool was_unmade = random_.below(4) == 0;
    auto unlinked = apply(Unlink{id, 9, was_unmade});
    auto inode = inodes_.find(id);
    if (id == wire::kRootInode) {
      ASSERT_EQ(errno_of(unlinked), EBUSY);
    } else if (inode == inodes_.end()) {
      ASSERT_EQ(errno_of(unlinked), ENOENT);
    } else {
      if (inode->second.nlink > 0) {
        --inode->second.nlink;
        inode->second.is_linkable &= was_unmade;
      }
      ASSERT_EQ(gone(unlinked), inode->second.nlink == 0 && !inode->second.is_open());
      erase_if_unused(inode);
    }
  }

  void do_link() {
    wire::InodeId id = random_inode();
    auto linked = apply(Link{id, 9});
    auto inode = inodes_.find(id);
    if (inode == inodes_.end() || (inode->second.nlink == 0 && !inode->second.is_linkable)) {
      ASSERT_EQ(errno_of(linked), ENOENT);
    } else if (inode->second.type == S_IFDIR) {
      ASSERT_EQ(errno_of(linked), EPERM);
    } else {
      ASSERT_TRUE(linked.has_value());
      ASSERT_EQ(linked->nlink, ++inode->second.nlink);
    }
  }

  void erase_if_unused(std::map<wire::InodeId, ModelInode>::iterator inode) {
    bool is_unused = inode->second.nlink == 0 && !inode->second.is_open();
    ASSERT_EQ(store_.is_unused(inode->first), is_unused);
    if (is_unused) {
      apply(Erase{inode->first});
      inodes_.erase(inode);
    }
  }

  void do_open() {
    wire::InodeId id = random_inode();
    std::uint64_t client = random_.below(5);
    std::uint32_t flags = random_flags();
    bool also_unlinked = random_.below(2) == 0;
    flags |= also_unlinked ? std::uint32_t{wire::kOpenUnlinked} : 0U;
    auto opened = apply(OpenInode{id, {client, ++last_number_}, flags});
    auto inode = inodes_.find(id);
    if (inode == inodes_.end() ||
        (inode->second.nlink == 0 && !(also_unlinked && inode->second.is_open()))) {
      ASSERT_EQ(errno_of(opened), ENOENT);
    } else if (inode->second.type == S_IFDIR && (flags & wire::kOpenWrite) != 0) {
      ASSERT_EQ(errno_of(opened), EISDIR);
    } else {
      ASSERT_TRUE(opened.has_value());
      inode->second.opens[{client, last_number_}] = flags;
      numbers_.push_back({{client, last_number_}, id});
    }
  }

  void do_open_unnamed() {
    wire::InodeId parent = random_parent();
    std::uint64_t client = random_.below(5);
    std::uint32_t flags = wire::kOpenWrite;
    flags |= random_.below(3) == 0 ? std::uint32_t{wire::kOpenExclusive} : 0U;
    auto made = apply(CreateUnnamed{parent, new_file(), {client, ++last_number_}, flags, 5});
    if (int error = expected_parent_error(parent); error != 0) {
      ASSERT_EQ(errno_of(made), error);
      return;
    }
    ASSERT_TRUE(made.has_value()) << made.error().message();
    last_inode_ = made->id();
    ModelInode& inode = inodes_[made->id()];
    inode.nlink = 0;
    inode.is_linkable = (flags & wire::kOpenExclusive) == 0;
    inode.opens[{client, last_number_}] = flags;
    numbers_.push_back({{client, last_number_}, made->id()});
    if (random_.below(2) == 0) {  // a random inode is hardly ever one of these
      auto linked = apply(Link{made->id(), 9});
      ASSERT_EQ(errno_of(linked), inode.is_linkable ? 0 : ENOENT);
      inode.nlink += linked ? 1 : 0;
    }
  }

  void do_close() {
    if (numbers_.empty()) {
      return;
    }
    auto [key, id] = numbers_[random_.below(numbers_.size())];  // some are closed
    auto inode = inodes_.find(id);
    bool is_open = inode != inodes_.end() && inode->second.opens.erase(key) > 0;
    std::optional<Open> closed = apply(Close{{key.first, key.second}});
    ASSERT_EQ(closed.has_value(), is_open);
    if (is_open) {
      ASSERT_EQ(closed->inode, id);
      erase_if_unused(inode);
    }
  }

  // All opens of a client are closed, or those numbered below a bound that are not even.
  void do_close_many() {
    std::uint64_t client = random_.below(5);
    std::uint64_t bound = random_.below(2) == 0 ? UINT64_MAX : random_.below(last_number_ + 1);
    std::vector<std::uint64_t> kept;
    std::vector<wire::InodeId> expected;
    std::vector<wire::InodeId> touched;
    for (auto& [id, inode] : inodes_) {
      auto closed = std::erase_if(inode.opens, [&](const auto& open) {
        auto [owner, number] = open.first;
        bool is_kept = bound != UINT64_MAX && number % 2 == 0;
        if (owner == client && is_kept) {
          kept.push_back(number);
        }
        return owner == client && number < bound && !is_kept;
      });
      expected.insert(expected.end(), closed, id);
      if (closed > 0) {
        touched.push_back(id);
      }
    }
    std::ranges::sort(kept);
    std::vector<wire::InodeId> closed;
    for (const Open& open :
         bound == UINT64_MAX ? apply(CloseAll{client}) : apply(KeepOnly{client, 0, bound, kept})) {
      closed.push_back(open.inode);
    }
    ASSERT_EQ(closed, expected);
    for (wire::InodeId id : touched) {
      erase_if_unused(inodes_.find(id));
    }
  }

  void do_size() {
    wire::InodeId id = random_inode();
    std::uint64_t size = random_.below(1000);
    auto inode = inodes_.find(id);
    int expected = inode == inodes_.end() ? ENOENT : inode->second.type == S_IFDIR ? EISDIR : 0;
    switch (random_.below(3)) {
      case 0:
        ASSERT_EQ(errno_of(apply(Truncate{id, size, 9})), expected);
        if (expected == 0) {
          inode->second.size = size;
          ++inode->second.truncation;
        }
        break;
      case 1:
        ASSERT_EQ(errno_of(apply(Settle{id, size, 9})), expected);
        if (expected == 0) {
          inode->second.size = std::max(inode->second.size, size);
        }
        break;
      default: {
        auto range = apply(Append{id, size, 9});
        ASSERT_EQ(errno_of(range), expected);
        if (expected == 0) {
          ASSERT_EQ(range->offset, inode->second.size);
          ASSERT_EQ(range->truncation, inode->second.truncation);
          inode->second.size += size;
        }
      }
    }
  }

  void do_freeze() {
    wire::InodeId directory = random_parent();
    auto froze = store_.freeze(directory, kFreezer, now_ + std::chrono::seconds(5), now_);
    if (directory == wire::kRootInode) {
      ASSERT_EQ(errno_of(froze), EBUSY);
    } else if (int error = expected_parent_error(directory); error != 0) {
      ASSERT_EQ(errno_of(froze), error);
    } else if (model_has_entries(directory)) {
      ASSERT_EQ(errno_of(froze), ENOTEMPTY);
    } else {
      ASSERT_TRUE(froze.has_value());
      frozen_[directory] = now_ + std::chrono::seconds(5);
    }
  }

  void do_thaw() {
    if (frozen_.empty()) {
      return;
    }
    auto at =
        std::next(frozen_.begin(), static_cast<std::ptrdiff_t>(random_.below(frozen_.size())));
    wire::InodeId directory = at->first;
    // Only directories of this shard are removed, the others serve until the end.
    bool removed = directory.home() == kHere && random_.below(2) == 0;
    if (removed) {
      apply(RemoveDirectory{directory});
    } else {
      store_.thaw(directory, kFreezer);
    }
    frozen_.erase(at);
    if (removed) {
      removed_.insert(directory);
    }
  }

  std::uint32_t random_flags() {
    constexpr std::uint32_t kFlags[] = {
        wire::kOpenRead, wire::kOpenWrite, wire::kOpenWrite | wire::kOpenAppend};
    return kFlags[random_.below(3)];
  }

  void step() {
    now_ += std::chrono::milliseconds(100);
    std::uint64_t dice = random_.below(100);
    if (dice < 30) {
      do_create();
    } else if (dice < 40) {
      do_find();
    } else if (dice < 45) {
      do_put();
    } else if (dice < 60) {
      do_remove();
    } else if (dice < 62) {
      do_link();
    } else if (dice < 70) {
      do_unlink();
    } else if (dice < 71) {
      do_open_unnamed();
    } else if (dice < 78) {
      do_open();
    } else if (dice < 88) {
      do_close();
    } else if (dice < 89) {
      do_close_many();
    } else if (dice < 94) {
      do_size();
    } else if (dice < 97) {
      do_freeze();
    } else {
      do_thaw();
    }
  }

  void check_listings() {
    for (wire::InodeId parent : parents_) {
      ASSERT_EQ(store_.has_entries(parent), model_has_entries(parent));
      if (expected_parent_error(parent) != 0) {
        continue;
      }
      std::vector<std::string> expected;
      for (auto at = entries_.lower_bound({parent, ""});
           at != entries_.end() && at->first.first == parent;
           ++at) {
        expected.push_back(at->first.second);
      }
      ASSERT_EQ(list_names(store_, parent, 64 + random_.below(8000)), expected);
    }
  }

  // Of a directory that has its name: its own "." and those in it.
  std::uint32_t expected_directory_links(wire::InodeId id) const {
    const ModelInode& inode = inodes_.at(id);
    std::uint32_t links = inode.type == S_IFDIR && inode.nlink > 0 ? 1 : 0;
    for (auto at = entries_.lower_bound({id, ""});
         links > 0 && at != entries_.end() && at->first.first == id;
         ++at) {
      links += at->second.type == S_IFDIR ? 1 : 0;
    }
    return links;
  }

  void check_inodes() {
    MetaStore::Stats expected{.inode_count = inodes_.size(), .entry_count = entries_.size()};
    for (const auto& [id, model] : inodes_) {
      auto attr = store_.attr(id);
      ASSERT_TRUE(attr.has_value());
      ASSERT_EQ(attr->mode & S_IFMT, model.type);
      ASSERT_EQ(attr->nlink, model.nlink + expected_directory_links(id));
      ASSERT_EQ(attr->size, model.size);
      ASSERT_EQ(attr->truncation, model.truncation);
      ASSERT_EQ(store_.has_writers(id), model.has_writers());
      expected.orphan_count += model.nlink == 0 ? 1 : 0;
      expected.open_count += model.opens.size();
    }
    MetaStore::Stats stats = store_.stats();
    ASSERT_EQ(stats.inode_count, expected.inode_count);
    ASSERT_EQ(stats.entry_count, expected.entry_count);
    ASSERT_EQ(stats.open_count, expected.open_count);
    ASSERT_EQ(stats.orphan_count, expected.orphan_count);
  }

  // The same changes make the same store.
  void check_replay() {
    MetaStore again{kHere, kShards, {}};
    for (const Change& change : changes_) {
      std::visit([&](const auto& one) { (void)again.apply(one); }, change);
    }
    for (const auto& [id, model] : inodes_) {
      Result<wire::Attr> before = store_.attr(id);
      Result<wire::Attr> after = again.attr(id);
      ASSERT_TRUE(before && after);
      ASSERT_EQ(std::memcmp(&*before, &*after, sizeof(wire::Attr)), 0) << id.value;
      ASSERT_EQ(again.has_writers(id), store_.has_writers(id));
    }
    for (wire::InodeId parent : parents_) {
      if (expected_parent_error(parent) == 0) {
        ASSERT_EQ(list_names(again, parent), list_names(store_, parent));
      } else {
        ASSERT_FALSE(again.find(parent, "a"));
      }
    }
    ASSERT_EQ(again.stats().open_count, store_.stats().open_count);
    ASSERT_EQ(again.stats().orphan_count, store_.stats().orphan_count);
  }

  Random random_{test_seed()};
  MetaStore store_{kHere, kShards, {}};
  MonoTime now_ = kStart;
  std::vector<wire::InodeId> parents_;
  wire::InodeId last_inode_ = wire::kRootInode;
  std::uint64_t last_number_ = 0;
  std::vector<std::pair<std::pair<std::uint64_t, std::uint64_t>, wire::InodeId>> numbers_;

  std::map<std::pair<wire::InodeId, std::string>, Entry> entries_;
  std::map<wire::InodeId, ModelInode> inodes_;
  std::map<wire::InodeId, MonoTime> frozen_;
  std::set<wire::InodeId> removed_;

  std::vector<Change> changes_;  // that were carried out; they borrow from the next two
  std::set<std::string> names_;
  std::deque<std::vector<std::uint64_t>> lists_;
};

TEST_F(MetaStoreModelTest, RandomOperationsAnswerAsTheModelDoes) {
  for (int i = 0; i < kOperations; ++i) {
    ASSERT_NO_FATAL_FAILURE(step()) << "operation " << i;
    if (i % 2000 == 0) {
      ASSERT_NO_FATAL_FAILURE(check_listings()) << "operation " << i;
      ASSERT_NO_FATAL_FAILURE(check_inodes()) << "operation " << i;
    }
  }
  check_listings();
  check_inodes();
  check_replay();
  // The run must have met what it is for.
  EXPECT_GT(removed_.size(), 10U);
  EXPECT_GT(entries_.size(), 1000U);
}

}  // namespace
}  // namespace benchfs::meta
