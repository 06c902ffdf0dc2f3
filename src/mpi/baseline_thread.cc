#include "mpi/baseline_thread.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <string>
#include <utility>

#include "base/log.h"
#include "net/address.h"
#include "net/interfaces.h"

namespace benchfs::mpi {
namespace {

// The address that a shard would advertise.
Result<std::string> address_of(const daemon::DaemonConfig& config) {
  if (!config.advertise_ip.empty()) {
    return config.advertise_ip;
  }
  BENCHFS_TRY(net::SocketAddress listen, net::make_address(config.listen_ip, 0));
  return listen.is_any() ? net::routable_ip(config.interface_name) : config.listen_ip;
}

}  // namespace

Result<std::unique_ptr<BaselineThread>> BaselineThread::start(const daemon::DaemonConfig& config) {
  BENCHFS_TRY(std::string ip, address_of(config));
  BENCHFS_TRY(net::SocketAddress address, net::make_address(ip, 0));
  std::string devices = config.devices.empty() && address.is_loopback() ? "lo" : config.devices;
  BENCHFS_TRY(std::unique_ptr<bench::BaselineServer> server,
              bench::BaselineServer::start(ip, devices));
  int stop_fd = eventfd(0, EFD_CLOEXEC);
  if (stop_fd < 0) {
    return fail_system(errno, "a descriptor for the baseline server");
  }
  return std::unique_ptr<BaselineThread>(
      new BaselineThread(std::move(server), stop_fd));  // lint: allow new private constructor
}

BaselineThread::BaselineThread(std::unique_ptr<bench::BaselineServer> server, int stop_fd)
    : server_(std::move(server)), stop_fd_(stop_fd), thread_([this] {
        Status served = server_->serve(stop_fd_);
        if (!served) {
          BENCHFS_LOG(kError, "the baseline server: {}", served.error().message());
        }
      }) {}

BaselineThread::~BaselineThread() {
  eventfd_write(stop_fd_, 1);
  thread_.join();
  ::close(stop_fd_);
}

Nanos BaselineThread::cpu_time() {
  clockid_t clock{};
  timespec time{};
  if (pthread_getcpuclockid(thread_.native_handle(), &clock) != 0 ||
      clock_gettime(clock, &time) != 0) {
    return Nanos(0);
  }
  return std::chrono::seconds(time.tv_sec) + Nanos(time.tv_nsec);
}

}  // namespace benchfs::mpi
