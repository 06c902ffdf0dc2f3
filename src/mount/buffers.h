// Memory for requests of the kernel and for what they read, kept for the next one: a megabyte that
// is allocated each time costs more than copying it.
//
// Thread: the reactor's.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

namespace benchfs::mount {

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};
// Comes from malloc: libfuse allocates the buffers that it receives requests in.
using Memory = std::unique_ptr<void, FreeMemory>;

class Buffers {
 public:
  static constexpr std::size_t kMaxKept = 32;

  // Null when none is kept.
  [[nodiscard]] Memory take() {
    if (kept_.empty()) {
      return nullptr;
    }
    Memory memory = std::move(kept_.back());
    kept_.pop_back();
    return memory;
  }
  void give_back(Memory memory) {
    if (memory != nullptr && kept_.size() < kMaxKept) {
      kept_.push_back(std::move(memory));
    }
  }

 private:
  std::vector<Memory> kept_;
};

}  // namespace benchfs::mount
