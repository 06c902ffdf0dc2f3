// Which opens of this client each server may hold, by number.
//
// A number belongs to one request to one server and is never used again. What the server holds
// beyond the opens listed here is closed there with the next statement (Opens notices): also the
// opens whose caller gave up before the answer came.
//
// Thread: the client's reactor.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "client/io/open_file.h"
#include "wire/ids.h"
#include "wire/messages.h"

namespace benchfs::client {

class OpenTable {
 public:
  // An open that is about to be sent to `shard`; listed there until it is destroyed or removed.
  [[nodiscard]] std::shared_ptr<OpenFile> add(wire::ShardId shard, std::uint32_t flags) {
    auto file = std::make_shared<OpenFile>(next_++, flags);
    if (shard.value >= shards_.size()) {
      shards_.resize(shard.value + 1);
    }
    if (shards_[shard.value] == nullptr) {
      shards_[shard.value] = std::make_unique<Files>();
    }
    shards_[shard.value]->push_back(*file);  // numbers grow: the list is in their order
    return file;
  }
  void remove(OpenFile& file) { file.hook.unlink(); }

  [[nodiscard]] bool has_files(wire::ShardId shard) const {
    return shard.value < shards_.size() && shards_[shard.value] != nullptr &&
           !shards_[shard.value]->empty();
  }
  // True when an open was ever sent to the shard.
  [[nodiscard]] bool knows(wire::ShardId shard) const {
    return shard.value < shards_.size() && shards_[shard.value] != nullptr;
  }
  template <typename Visit>
  void for_each(wire::ShardId shard, Visit visit) {
    if (knows(shard)) {
      for (OpenFile& file : *shards_[shard.value]) {
        visit(file);
      }
    }
  }

  // Says which opens the shard shall keep of all the numbers given out so far, in as many notices
  // as it takes: say(const wire::OpensNotice&, std::span<const std::uint64_t> kept).
  template <typename Say>
  void state(wire::ShardId shard, Say say) {
    std::vector<std::uint64_t> kept;
    std::uint64_t from = 1;
    auto say_until = [&](std::uint64_t to) {
      wire::OpensNotice notice;
      notice.from = from;
      notice.to = to;
      notice.count = static_cast<std::uint32_t>(kept.size());
      say(notice, std::span<const std::uint64_t>(kept));
      kept.clear();
      from = to;
    };
    for_each(shard, [&](const OpenFile& file) {
      if (kept.size() == wire::kMaxOpensInNotice) {
        say_until(file.number);
      }
      kept.push_back(file.number);
    });
    say_until(next_);
  }

 private:
  using Files = boost::intrusive::list<
      OpenFile,
      boost::intrusive::member_hook<OpenFile, OpenFile::Hook, &OpenFile::hook>,
      boost::intrusive::constant_time_size<false>>;

  std::uint64_t next_ = 1;
  std::vector<std::unique_ptr<Files>> shards_;
};

}  // namespace benchfs::client
