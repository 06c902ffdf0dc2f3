#include "mount/serve.h"

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "base/fd.h"
#include "base/log.h"
#include "mount/channel.h"
#include "mount/door.h"
#include "mount/kernel_cache.h"
#include "mount/kernel_pages.h"
#include "mount/mount_point.h"
#include "mount/stop_signals.h"
#include "rt/blocking_pool.h"

namespace benchfs::mount {
namespace {

// How long programs that use the mount may go on after it was asked to end.
constexpr Nanos kLinger = std::chrono::seconds(3);
constexpr Nanos kUnmountTime = std::chrono::seconds(10);

// Needs the mount to be served: runs on a thread of its own.
Result<bool> write_back_and_detach(const std::string& path) {
  if (Fd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); root.is_open()) {
    ::syncfs(root.get());
  }
  BENCHFS_TRY_VOID(unmount(path, true));
  return true;
}

struct Service {
  client::Client& client;
  int fd;  // of the kernel's session
  ServeOptions& options;
  Door& door;
  Channel& channel;
  StopSignals& signals;
};

rt::Task<void> watch_signals(Service* service, rt::Scope* scope) {
  if (co_await service->signals.requested().wait(Deadline::never(), &scope->cancel_source()) !=
      rt::Wake::kReady) {
    co_return;
  }
  if (service->options.mount.device < 0) {  // else it is in a namespace of others
    rt::BlockingPool helper(*rt::Reactor::current());
    std::string path = service->options.mount.mount_point;
    Result<bool> detached = co_await helper.run<bool>(
        [path] { return write_back_and_detach(path); }, Deadline::after(kUnmountTime));
    if (!detached) {
      BENCHFS_LOG(kWarn, "unmounting: {}", detached.error().message());
    }
  }
  (void)co_await service->channel.ended().wait(Deadline::after(kLinger));
  service->channel.ended().set();
}

rt::CoStatus serve_until_ended(Service* service) {
  rt::Reactor& reactor = *rt::Reactor::current();
  rt::Scope watchers;
  KernelCache kernel(service->client.fs(), reactor, service->fd);
  KernelPages pages(service->client.fs(), kernel, service->options.mount.mount_point);
  service->door.attach(kernel, pages);
  reactor.add_poller(service->channel);
  reactor.add_poller(service->signals);
  watchers.spawn(watch_signals(service, &watchers));
  (void)co_await service->channel.ended().wait(Deadline::never());
  watchers.close();
  service->door.requests().close();
  // Ends what still waits for servers.
  co_await service->client.fs().leave();
  co_await service->door.requests().join();
  service->door.holds().close();
  co_await pages.close();
  co_await kernel.close();
  co_await watchers.join();
  reactor.remove_poller(service->signals);
  reactor.remove_poller(service->channel);
  co_return Status{};
}

}  // namespace

Status serve(client::Client& client, ServeOptions options) {
  Door door(client.fs(), {.page_cache = options.page_cache, .on_ready = options.on_ready});
  BENCHFS_TRY(std::unique_ptr<KernelSession> session, KernelSession::mount(door, options.mount));
  BENCHFS_TRY(std::unique_ptr<Channel> channel, Channel::create(session->get(), door.requests()));
  door.attach(*channel);
  BENCHFS_TRY(std::unique_ptr<StopSignals> signals, StopSignals::create());
  Service service{client, fuse_session_fd(session->get()), options, door, *channel, *signals};
  return client.run(serve_until_ended(&service));
}

}  // namespace benchfs::mount
