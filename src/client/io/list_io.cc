#include "client/io/list_io.h"

#include <algorithm>

#include "rt/scope.h"

namespace benchfs::client {

struct ListIo::List {
  OpenFile& file;
  std::span<Extent> extents;
  bool is_write = false;
  std::size_t next = 0;
};

rt::CoStatus ListIo::read(OpenFile& file, std::span<Extent> extents) {
  List list{.file = file, .extents = extents};
  co_return co_await run(list);
}

rt::CoStatus ListIo::write(OpenFile& file, std::span<Extent> extents) {
  List list{.file = file, .extents = extents, .is_write = true};
  co_return co_await run(list);
}

rt::CoStatus ListIo::run(List& list) {
  rt::Group group(backend_.scope);
  auto most = std::min<std::size_t>(list.extents.size(), backend_.config.parallel_transfers);
  for (std::size_t i = 0; i < most; ++i) {
    group.add(take_extents(&list));
  }
  if (!co_await group.wait()) {
    co_return fail(Errc::kCancelled, "the client is closing");
  }
  co_return Status{};
}

rt::Task<void> ListIo::take_extents(List* list) {
  while (list->next < list->extents.size()) {
    Extent& extent = list->extents[list->next++];
    extent.done = list->is_write ? co_await data_.write(list->file, extent.offset, extent.bytes)
                                 : co_await data_.read(list->file, extent.offset, extent.bytes);
  }
}

}  // namespace benchfs::client
