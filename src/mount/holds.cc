#include "mount/holds.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "rt/reactor.h"

namespace benchfs::mount {

void Holds::note_stale(pid_t thread) {
  std::erase_if(threads_, [&](const Thread& noted) { return noted.id == thread; });
  if (threads_.size() == kMaxThreads) {
    threads_.pop_front();
  }
  threads_.push_back({thread, mono_now() + kTime});
  if (!is_armed()) {
    rt::Reactor::current()->arm(*this, threads_.front().until);
  }
}

bool Holds::is_due(pid_t thread) const {
  return std::ranges::any_of(threads_, [&](const Thread& noted) { return noted.id == thread; });
}

rt::CoResult<wire::Attr> Holds::hold(wire::InodeId parent,
                                     const std::string& name,
                                     wire::Attr found) {
  Deadline end = Deadline::after(kTime);
  while (!end.passed()) {
    auto known =
        std::ranges::find_if(held_, [&](const Held& held) { return held.attr.id() == found.id(); });
    if (known != held_.end()) {
      Held again = std::move(*known);
      held_.erase(known);
      keep(std::move(again));
      break;
    }
    if (found.is_directory()) {
      break;
    }
    Status held;
    if (found.is_regular()) {
      Result<std::shared_ptr<client::OpenFile>> opened =
          co_await fs_.nodes().open(found.id(), wire::kOpenRead);
      if (opened) {
        keep({.attr = found, .file = *std::move(opened)});
      } else {
        held = std::unexpected(std::move(opened.error()));
      }
    } else if (found.is_symlink()) {
      Result<std::string> target = co_await fs_.nodes().readlink(found.id());
      if (target) {
        keep({.attr = found, .target = *std::move(target)});
      } else {
        held = std::unexpected(std::move(target.error()));
      }
    } else {
      keep({.attr = found});
    }
    if (held || !held.error().is_posix(ESTALE)) {
      break;
    }
    BENCHFS_CO_TRY(found, co_await fs_.nodes().lookup(parent, name));
  }
  co_return found;
}

const Holds::Held* Holds::find(wire::InodeId inode) const {
  auto found = std::ranges::find_if(
      held_, [&](const Held& held) { return held.attr.id() == inode && held.file == nullptr; });
  return found != held_.end() ? &*found : nullptr;
}

void Holds::keep(Held held) {
  if (held_.size() == kMaxHeld) {
    drop_oldest();
  }
  held.until = mono_now() + kTime;
  held_.push_back(std::move(held));
  if (!is_armed()) {
    rt::Reactor::current()->arm(*this, held_.front().until);
  }
}

void Holds::drop_oldest() {
  if (held_.front().file != nullptr) {
    (void)fs_.open_files().close(*held_.front().file);
  }
  held_.pop_front();
}

void Holds::on_timer() {
  MonoTime now = mono_now();
  while (!threads_.empty() && threads_.front().until <= now) {
    threads_.pop_front();
  }
  while (!held_.empty() && held_.front().until <= now) {
    drop_oldest();
  }
  if (!threads_.empty() || !held_.empty()) {
    MonoTime next = threads_.empty() ? held_.front().until
                    : held_.empty()  ? threads_.front().until
                                     : std::min(threads_.front().until, held_.front().until);
    rt::Reactor::current()->arm(*this, next);
  }
}

void Holds::close() {
  disarm();
  threads_.clear();
  while (!held_.empty()) {
    drop_oldest();
  }
}

}  // namespace benchfs::mount
