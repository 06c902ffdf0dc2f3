// One segment file of the file engine: created sparse at its full size, opened buffered and, where
// the file system can, directly. Removed when it dies.
//
// Thread: any. Everything but the accessors blocks on the file system: never on a reactor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace benchfs::chunk {

class SegmentFile {
 public:
  struct Spec {
    std::string path;
    std::uint64_t slots = 0;  // fewer where the file system demands smaller files
    std::uint32_t slot_bytes = 0;
    bool direct = false;
    std::uint32_t alignment = 0;  // of direct transfers; 0: to be found out
  };
  // Errors: kPosix.
  static Result<std::shared_ptr<SegmentFile>> create(Spec spec);
  SegmentFile(const SegmentFile&) = delete;
  SegmentFile& operator=(const SegmentFile&) = delete;
  ~SegmentFile();

  void unlink();

  [[nodiscard]] std::uint64_t slots() const { return spec_.slots; }
  // 0: no direct transfers.
  [[nodiscard]] std::uint32_t alignment() const { return direct_.is_open() ? spec_.alignment : 0; }
  [[nodiscard]] int buffered() const { return buffered_.get(); }
  [[nodiscard]] int direct() const { return direct_.get(); }

 private:
  explicit SegmentFile(Spec spec) : spec_(std::move(spec)) {}
  Status open();
  Status open_direct();

  Spec spec_;
  bool has_name_ = false;
  Fd buffered_;
  Fd direct_;
};

}  // namespace benchfs::chunk
