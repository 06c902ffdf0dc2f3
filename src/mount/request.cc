#include "mount/request.h"

#include <atomic>
#include <bit>
#include <cerrno>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "mount/attributes.h"
#include "rt/reactor.h"

namespace benchfs::mount {
namespace {

// Behind the last time that a file can have, in 2262.
constexpr time_t kNoFilesTime = 9'300'000'000;

// A server that fails can fail every request: says so the 1st, 2nd, 4th, … time.
void log_failure(const Error& error) {
  static std::atomic<std::uint64_t> failures{0};
  std::uint64_t count = failures.fetch_add(1, std::memory_order_relaxed) + 1;
  if (std::has_single_bit(count)) {
    BENCHFS_LOG(kWarn, "a request failed ({} so far): {}", count, error.message());
  }
}

}  // namespace

Request::Request(fuse_req_t request, std::function<void()> on_failed)
    : request_(request), on_failed_(std::move(on_failed)) {
  fuse_req_interrupt_func(request_, &Request::on_interrupt, this);
}

Request::Request(fuse_req_t request, Holds* holds) : Request(request) {
  holds_ = holds;
}

Request::~Request() {
  fail(EIO);
}

void Request::on_interrupt(fuse_req_t /*request*/, void* self) {
  auto* request = static_cast<Request*>(self);
  request->is_interrupted_ = true;
  rt::Reactor::current()->arm(*request, mono_now() + kInterruptPatience);
}

void Request::on_timer() {
  fail(EINTR);
}

fuse_req_t Request::take() {
  disarm();
  return std::exchange(request_, nullptr);
}

void Request::fail(int error_number) {
  if (fuse_req_t request = take()) {
    if (error_number == ESTALE && holds_ != nullptr) {
      holds_->note_stale(fuse_req_ctx(request)->pid);
    }
    fuse_reply_err(request, error_number);
    if (error_number != 0 && on_failed_) {
      on_failed_();
    }
  }
}

void Request::fail(const Error& error) {
  if (error.code != Errc::kPosix && error.code != Errc::kCancelled) {
    log_failure(error);
  }
  fail(to_errno(error));
}

void Request::reply(const Status& status) {
  if (status) {
    done();
  } else {
    fail(status.error());
  }
}

bool Request::reply_entry(const Result<wire::Attr>& attr,
                          double name_timeout,
                          double attr_timeout) {
  if (!attr) {
    fail(attr.error());
    return false;
  }
  fuse_req_t request = take();
  fuse_entry_param entry = to_entry(*attr, name_timeout);
  entry.attr_timeout = attr_timeout;
  return request != nullptr && fuse_reply_entry(request, &entry) == 0;
}

void Request::reply_missing(double name_timeout) {
  if (fuse_req_t request = take()) {
    fuse_entry_param entry{};
    entry.entry_timeout = name_timeout;
    fuse_reply_entry(request, &entry);
  }
}

void Request::reply_attr(const Result<wire::Attr>& attr, double attr_timeout) {
  if (!attr) {
    return fail(attr.error());
  }
  if (fuse_req_t request = take()) {
    struct stat out = to_stat(*attr);
    fuse_reply_attr(request, &out, attr_timeout);
  }
}

void Request::reply_attr_for_read(const wire::Attr& attr) {
  static std::atomic<std::uint64_t> count{0};
  if (fuse_req_t request = take()) {
    struct stat out = to_stat(attr);
    std::uint64_t number = count.fetch_add(1, std::memory_order_relaxed);
    out.st_mtim = {.tv_sec = kNoFilesTime, .tv_nsec = static_cast<long>(number % 1'000'000'000)};
    fuse_reply_attr(request, &out, 0);
  }
}

void Request::reply_text(const char* text) {
  if (fuse_req_t request = take()) {
    fuse_reply_readlink(request, text);
  }
}

void Request::reply_written(std::size_t bytes) {
  if (fuse_req_t request = take()) {
    fuse_reply_write(request, bytes);
  }
}

void Request::reply_position(std::uint64_t offset) {
  if (fuse_req_t request = take()) {
    fuse_reply_lseek(request, static_cast<off_t>(offset));
  }
}

void Request::reply_xattr_size(std::size_t bytes) {
  if (fuse_req_t request = take()) {
    fuse_reply_xattr(request, bytes);
  }
}

bool Request::reply_data(std::span<const std::byte> data) {
  fuse_req_t request = take();
  return request != nullptr &&
         fuse_reply_buf(request, reinterpret_cast<const char*>(data.data()), data.size()) == 0;
}

void Request::reply_statfs(const struct statvfs& statistics) {
  if (fuse_req_t request = take()) {
    fuse_reply_statfs(request, &statistics);
  }
}

void Request::reply_lock(const struct flock& lock) {
  if (fuse_req_t request = take()) {
    fuse_reply_lock(request, &lock);
  }
}

bool Request::reply_open(const fuse_file_info& info) {
  fuse_req_t request = take();
  return request != nullptr && fuse_reply_open(request, &info) == 0;
}

bool Request::reply_create(const wire::Attr& attr,
                           const fuse_file_info& info,
                           double name_timeout,
                           double attr_timeout) {
  fuse_req_t request = take();
  fuse_entry_param entry = to_entry(attr, name_timeout);
  entry.attr_timeout = attr_timeout;
  return request != nullptr && fuse_reply_create(request, &entry, &info) == 0;
}

}  // namespace benchfs::mount
