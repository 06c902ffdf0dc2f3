// One request of the kernel while it is served. Lives in the frame of the coroutine that serves it
// and answers exactly once.
//
// When the calling program gets a signal, the kernel says so (FUSE_INTERRUPT). A request that is
// not done a second later is answered with EINTR, and its coroutine ends unheard: the effect may
// have happened. It is not answered at once because programs do not expect EINTR from files for a
// timer or a child that ended.
//
// Thread: the reactor's.
#pragma once

#include <fcntl.h>
#include <sys/statvfs.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/error.h"
#include "mount/fuse.h"
#include "mount/holds.h"
#include "rt/timer.h"
#include "wire/attr.h"

namespace benchfs::mount {

class Request final : private rt::Timer {
 public:
  static constexpr Nanos kInterruptPatience = std::chrono::seconds(1);

  // `on_failed` is called when it has been answered with an error.
  explicit Request(fuse_req_t request, std::function<void()> on_failed = {});
  // `holds` is told of ESTALE; null unless the request is about an inode that a path led to.
  Request(fuse_req_t request, Holds* holds);
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request() override;

  void done() { fail(0); }
  void fail(int error_number);
  void fail(const Error& error);
  // done() or fail().
  void reply(const Status& status);
  // For how many seconds the kernel may use it: the name, the attributes. False: the kernel does
  // not get to know the inode.
  [[nodiscard]] bool reply_entry(const Result<wire::Attr>& attr,
                                 double name_timeout = 0,
                                 double attr_timeout = 0);
  void reply_missing(double name_timeout);
  void reply_attr(const Result<wire::Attr>& attr, double attr_timeout = 0);
  // For a read through the page cache, which asks by its handle (stat does not): the kernel drops
  // all pages that it has, because the time of the last change differs from the one that it knows.
  // It asks again before it shows that to anybody.
  void reply_attr_for_read(const wire::Attr& attr);
  void reply_text(const char* text);
  void reply_written(std::size_t bytes);
  void reply_position(std::uint64_t offset);
  void reply_xattr_size(std::size_t bytes);
  // False: the kernel does not get it.
  bool reply_data(std::span<const std::byte> data);
  void reply_statfs(const struct statvfs& statistics);
  void reply_lock(const struct flock& lock);
  // The calling program got a signal.
  [[nodiscard]] bool is_interrupted() const { return is_interrupted_; }
  // False when nobody takes what was opened: it must be closed.
  [[nodiscard]] bool reply_open(const fuse_file_info& info);
  [[nodiscard]] bool reply_create(const wire::Attr& attr,
                                  const fuse_file_info& info,
                                  double name_timeout,
                                  double attr_timeout);

 private:
  static void on_interrupt(fuse_req_t request, void* self);
  void on_timer() override;
  // The request to answer now; null when that has happened.
  [[nodiscard]] fuse_req_t take();

  fuse_req_t request_;
  std::function<void()> on_failed_;
  Holds* holds_ = nullptr;
  bool is_interrupted_ = false;
};

}  // namespace benchfs::mount
