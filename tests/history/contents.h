// The size and bytes of one file as a sequential object, looked at in sample cells.
//
// As docs/semantics.md allows, an operation takes effect in parts: a large write chunk by chunk, an
// append in its range before its bytes and then chunk by chunk, a read cell by cell. All parts are
// of the one object, so that a size and the bytes below it must fit each other. Before a part of a
// write takes effect for good, its cells may show up one by one where the file already reaches, and
// all of it may if the write lasted so long that its server may have forgotten the client and been
// sent it again.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <vector>

#include "history/operation.h"
#include "history/search.h"

namespace benchfs::history {

class Contents {
 public:
  struct State {
    std::int64_t size = 0;
    std::array<std::uint32_t, kSamples / kSamplesOfBlock> tags{};
    // The ranges of appends whose bytes are not all there. A truncation takes what it cuts off out
    // of them: the append has happened before.
    struct Reserved {
      std::size_t append;
      std::int64_t at;
      std::int64_t end;       // of what truncations have left
      std::uint32_t written;  // parts
    };
    std::vector<Reserved> reserved;
    // The parts of writes that took effect for good, of those that may show up before.
    std::vector<std::size_t> written;

    [[nodiscard]] std::uint64_t hash() const;
  };

  enum class Part : std::uint8_t {
    kWrite,           // [at, at + length) holds `tag` from now on
    kWriteBefore,     // the same, and the kWrite of this `write` is yet to come
    kTagBefore,       // the sample `at` holds `tag`, and the kWrite of this `write` is yet to come
    kTruncate,        // the size is `length`
    kReserve,         // the size grows by `length`; was `at` unless that is -1
    kAppended,        // part `at` of an append whose range is in State::reserved
    kAppendedBefore,  // the sample `at` holds the bytes of an append whose part is yet to come
    kSize,            // the size is in [at, length]
    kTag,             // the sample `at` holds `tag`
  };

  struct Step {
    std::int64_t begin;
    std::int64_t end;
    bool required;
    Part part;
    std::int64_t at;
    std::int64_t length;
    std::uint32_t tag;
    std::size_t append;
    std::size_t write = 0;
  };

  // `operations` are those by handle on one inode, and truncations that met it. `which` of the
  // three samples of a block to look at. A server forgets a client after `grace`.
  Contents(const std::vector<Operation>& operations, std::uint32_t which, std::int64_t grace);
  Effect apply(State& state, std::size_t step) const;

  std::vector<Step> steps;
  State initial;

 private:
  void add_steps(const std::vector<Operation>& operations, std::size_t index);
  void add_write(const std::vector<Operation>& operations, const Operation& operation);
  void add_read(const Operation& operation);
  void add_append(const std::vector<Operation>& operations, std::size_t index);
  // Samples that were read as `operation` wrote them, before it was answered.
  [[nodiscard]] std::set<std::size_t> seen_early(const std::vector<Operation>& operations,
                                                 const Operation& operation) const;
  Effect apply_appended(State& state, const Step& step) const;
  Effect apply_appended_before(State& state, const Step& step) const;
  void write(State& state, std::int64_t at, std::int64_t length, std::uint32_t tag) const;
  [[nodiscard]] std::int64_t position(std::size_t sample) const;

  std::uint32_t which_;
  std::int64_t grace_;
  std::size_t writes_ = 0;
};

}  // namespace benchfs::history
