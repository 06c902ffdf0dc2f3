#include "client/paths/path_calls.h"

#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "client/inodes/lost_file.h"
#include "client/paths/paths.h"

namespace benchfs::client {

template <typename Request, typename T>
PathCall<Request, T>::PathCall(Paths& paths, PathView path)
    : paths_(paths),
      path_(path),
      began_(mono_now_coarse()),
      deadline_(paths.backend().metadata_deadline(began_)),
      walked_at_(boot_now()) {}

template <typename Request, typename T>
std::coroutine_handle<> PathCall<Request, T>::await_suspend(std::coroutine_handle<> caller) {
  std::optional<LastStep> step = paths_.find_last_step(path_, walked_at_);
  if (!step) {
    detour_.emplace(go_on());
    return detour_->start(caller);
  }
  step_ = *step;
  request_.parent = step_.directory.value;
  request_.name_bytes = static_cast<std::uint16_t>(step_.name.size());
  if (!prepare(request_, step_)) {
    detour_.emplace(go_on());
    return detour_->start(caller);
  }
  call_ = rpc::make_call(request_, step_.name);
  if constexpr (std::is_same_v<typename Request::Reply, wire::EntryReply>) {
    call_.into = paths_.inodes().unwanted_target();
  }
  Follower* follower = this;
  sent_.emplace(paths_.backend().pool, step_.shard, call_, deadline_, began_, follower);
  return sent_->await_suspend(caller);
}

template <typename Request, typename T>
bool PathCall<Request, T>::is_end() {
  if (const rpc::Reply* reply = sent_->success()) [[likely]] {
    return is_result(body_of(*reply));
  }
  // Of a request about an entry: its directory is gone, and another one may have its name.
  return !sent_->is_answer(ESTALE);
}

template <typename Request, typename T>
rt::Task<void> PathCall<Request, T>::go_on() {
  result_.emplace(co_await call_slowly());
}

template <typename Request, typename T>
Result<T> PathCall<Request, T>::await_resume() {
  if (!result_) [[likely]] {
    const rpc::Reply* reply = sent_->success();
    result_.emplace(reply != nullptr ? result_of(body_of(*reply)) : std::unexpected(error()));
  }
  sent_.reset();  // here, where the client is driven; the call may end elsewhere
  return *std::move(result_);
}

template <typename Request, typename T>
typename Request::Reply PathCall<Request, T>::body_of(const rpc::Reply& reply) {
  typename Request::Reply body;
  if constexpr (!std::is_empty_v<typename Request::Reply>) {
    std::memcpy(&body, reply.body.data(), sizeof body);  // the connection has checked its size
  }
  return body;
}

template <typename Request, typename T>
Error PathCall<Request, T>::error() {
  Error error = sent_->await_resume().error();
  on_error(error);
  return call_error(
             name_node(
                 std::move(error), paths_.backend(), step_.shard, wire::to_string(call_.opcode)),
             LostBy::kAnother)
      .error();
}

template class PathCall<wire::LookupRequest, wire::Attr>;
template class PathCall<wire::OpenRequest, std::shared_ptr<OpenFile>>;
template class PathCall<wire::UnlinkRequest, void>;

// --- Attributes ----------------------------------------------------------------------------------

bool StatCall::prepare(wire::LookupRequest& /*request*/, const LastStep& step) {
  question_ = paths_.cache().ask(step.shard, walked_at_);
  return true;
}

bool StatCall::is_result(const wire::EntryReply& reply) const {
  return (reply.flags & wire::kEntryRemote) == 0 && !(follows_ && reply.attr.is_symlink());
}

Result<wire::Attr> StatCall::result_of(const wire::EntryReply& reply) {
  if (reply.attr.is_directory()) [[unlikely]] {
    paths_.remember(step_.directory, step_.name, {reply.attr, {}, reply.flags}, question_);
  }
  return reply.attr;
}

rt::CoResult<wire::Attr> StatCall::call_slowly() {
  return paths_.stat_slowly(path_, follows_, ids_, deadline_);
}

// --- Opening -------------------------------------------------------------------------------------

bool OpenCall::prepare(wire::OpenRequest& request, const LastStep& step) {
  constexpr std::uint32_t kNonsense = wire::kOpenCreate | wire::kOpenDirectory;
  if ((flags_ & kNonsense) == kNonsense) {
    return false;
  }
  if ((flags_ & wire::kOpenCreate) != 0) {
    std::optional<NewInode> inode = paths_.find_new_inode(step.directory, mode_, false, walked_at_);
    if (!inode) {
      return false;
    }
    request.mode = inode->mode;
    request.uid = inode->uid;
    request.gid = inode->gid;
    request.chunk_bytes = chunk_bytes_;
  }
  file_ = paths_.open_files().begin_open(step.shard, flags_);
  request.flags = flags_;
  request.open_number = file_->number;
  return true;
}

bool OpenCall::is_result(const wire::EntryReply& reply) const {
  return (reply.flags & wire::kEntryRemote) == 0 && !reply.attr.is_symlink();
}

Result<std::shared_ptr<OpenFile>> OpenCall::result_of(const wire::EntryReply& reply) {
  std::shared_ptr<OpenFile> file = std::move(file_);
  BENCHFS_TRY_VOID(paths_.open_files().finish_open(step_.shard, *file, reply.attr));
  return file;
}

void OpenCall::on_error(const Error& error) {
  paths_.open_files().on_open_failed(step_.shard, *file_, error);
  file_.reset();
}

rt::CoResult<std::shared_ptr<OpenFile>> OpenCall::call_slowly() {
  file_.reset();
  return paths_.open_slowly(path_, flags_, mode_, chunk_bytes_, deadline_);
}

// --- Removing ------------------------------------------------------------------------------------

bool UnlinkCall::prepare(wire::UnlinkRequest& /*request*/, const LastStep& /*step*/) {
  return true;
}

rt::CoStatus UnlinkCall::call_slowly() {
  return paths_.unlink_slowly(path_, deadline_);
}

}  // namespace benchfs::client
