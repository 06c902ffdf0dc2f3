// Operations by path that are one request when the path goes the way of the last one, through
// directories that are known, to a shard that is connected (known_way.h). Then the call has no
// coroutine: it lives in the frame of who awaits it, where it is made. Everything else is Paths's
// coroutine: another way, a symlink, an inode on another shard, a name that was replaced meanwhile.
//
// Thread: the client's reactor. Paths are borrowed until the call ends.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "client/io/open_file.h"
#include "client/paths/directory_cache.h"
#include "client/paths/path.h"
#include "client/permissions.h"
#include "rpc/pooled_call.h"
#include "rt/task.h"
#include "wire/messages.h"

namespace benchfs::client {

class Paths;

// The last step of a path: an entry of a directory.
struct LastStep {
  wire::InodeId directory;
  std::string_view name;
  wire::ShardId shard;  // of the entry; connected
};

// `T`: what the operation's Result has.
template <typename Request, typename T>
class PathCall : private rpc::PooledCall::Follower {
 public:
  PathCall(const PathCall&) = delete;
  PathCall& operator=(const PathCall&) = delete;

  [[nodiscard]] bool await_ready() const { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller);
  Result<T> await_resume();

 protected:
  PathCall(Paths& paths, PathView path);
  virtual ~PathCall() = default;

  // Fills in the request. False: it takes more than that.
  virtual bool prepare(Request& request, const LastStep& step) = 0;
  // Whether the answer is the operation's result. `reply`: of a success.
  [[nodiscard]] virtual bool is_result(const typename Request::Reply& reply) const = 0;
  virtual Result<T> result_of(const typename Request::Reply& reply) = 0;
  // The call failed, other than by an answer if that is not known.
  virtual void on_error(const Error& /*error*/) {}
  // From the beginning.
  virtual rt::CoResult<T> call_slowly() = 0;

  Paths& paths_;
  PathView path_;
  LastStep step_;
  MonoTime began_;
  Deadline deadline_;
  BootTime walked_at_;

 private:
  bool is_end() override;
  rt::Task<void> go_on() override;
  [[nodiscard]] static typename Request::Reply body_of(const rpc::Reply& reply);
  Error error();

  Request request_;
  rpc::Call call_;
  std::optional<rpc::PooledCall> sent_;
  std::optional<rt::Task<void>> detour_;
  std::optional<Result<T>> result_;  // of the detour
};

class StatCall final : public PathCall<wire::LookupRequest, wire::Attr> {
 public:
  // As Paths::stat().
  StatCall(Paths& paths, PathView path, bool follows, Ids ids)
      : PathCall(paths, path), follows_(follows), ids_(ids) {}

 private:
  bool prepare(wire::LookupRequest& request, const LastStep& step) override;
  [[nodiscard]] bool is_result(const wire::EntryReply& reply) const override;
  Result<wire::Attr> result_of(const wire::EntryReply& reply) override;
  rt::CoResult<wire::Attr> call_slowly() override;

  bool follows_;
  Ids ids_;
  DirectoryCache::Question question_;
};

class OpenCall final : public PathCall<wire::OpenRequest, std::shared_ptr<OpenFile>> {
 public:
  // As Paths::open().
  OpenCall(Paths& paths,
           PathView path,
           std::uint32_t flags,
           std::uint32_t mode,
           std::uint32_t chunk_bytes)
      : PathCall(paths, path), flags_(flags), mode_(mode), chunk_bytes_(chunk_bytes) {}

 private:
  bool prepare(wire::OpenRequest& request, const LastStep& step) override;
  [[nodiscard]] bool is_result(const wire::EntryReply& reply) const override;
  Result<std::shared_ptr<OpenFile>> result_of(const wire::EntryReply& reply) override;
  void on_error(const Error& error) override;
  rt::CoResult<std::shared_ptr<OpenFile>> call_slowly() override;

  std::uint32_t flags_;
  std::uint32_t mode_;
  std::uint32_t chunk_bytes_;
  std::shared_ptr<OpenFile> file_;
};

class UnlinkCall final : public PathCall<wire::UnlinkRequest, void> {
 public:
  UnlinkCall(Paths& paths, PathView path) : PathCall(paths, path) {}

 private:
  bool prepare(wire::UnlinkRequest& request, const LastStep& step) override;
  [[nodiscard]] bool is_result(const wire::UnlinkReply& /*reply*/) const override { return true; }
  Status result_of(const wire::UnlinkReply& /*reply*/) override { return {}; }
  rt::CoStatus call_slowly() override;
};

}  // namespace benchfs::client
