#include "system/network.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <optional>
#include <vector>

#include "base/check.h"
#include "system/process.h"

namespace benchfs::test {
namespace {

constexpr Nanos kCommandPatience = std::chrono::seconds(30);
constexpr std::size_t kLargestPacket = 65536;

void close_if_open(int fd) {
  if (fd >= 0) {
    ::close(fd);
  }
}

int open_tunnel() {
  int fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  ifreq request{};
  std::strncpy(request.ifr_name, TestNetwork::kDevice, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (fd >= 0 && ::ioctl(fd, TUNSETIFF, &request) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

// True when the device runs, which UCX wants to see: some time after it is up.
bool runs_in_time() {
  int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strncpy(request.ifr_name, TestNetwork::kDevice, IFNAMSIZ - 1);
  Deadline deadline = Deadline::after(kCommandPatience);
  auto runs = [&] {
    return ::ioctl(socket, SIOCGIFFLAGS, &request) == 0 &&
           (static_cast<unsigned short>(request.ifr_flags) & IFF_RUNNING) != 0;
  };
  while (!runs() && !deadline.passed()) {
    std::this_thread::sleep_for(  // lint: allow sleep the kernel's timer decides
        std::chrono::milliseconds(2));
  }
  bool in_time = runs();
  ::close(socket);
  return in_time;
}

// One direction of the wire with delay.
class Lane {
 public:
  Lane(int from, int to, Nanos delay) : from_(from), to_(to), delay_(delay) {}
  [[nodiscard]] int from() const { return from_; }

  void take() {
    std::vector<std::byte> packet(kLargestPacket);
    ssize_t size = ::read(from_, packet.data(), packet.size());
    if (size > 0) {
      packet.resize(static_cast<std::size_t>(size));
      packets_.push_back({mono_now() + delay_, std::move(packet)});
    }
  }
  void deliver(MonoTime now) {
    while (!packets_.empty() && packets_.front().due <= now) {
      const std::vector<std::byte>& bytes = packets_.front().bytes;
      [[maybe_unused]] ssize_t written = ::write(to_, bytes.data(), bytes.size());
      packets_.pop_front();
    }
  }
  [[nodiscard]] Deadline next() const {
    return packets_.empty() ? Deadline::never() : Deadline::at(packets_.front().due);
  }

 private:
  struct Packet {
    MonoTime due;
    std::vector<std::byte> bytes;
  };
  int from_;
  int to_;
  Nanos delay_;
  std::deque<Packet> packets_;
};

}  // namespace

Namespace::Namespace() {
  std::thread([this] {
    if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("sysfs", "/sys", "sysfs", 0, nullptr) != 0) {
      return;
    }
    network_fd_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    mounts_fd_ = ::open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
  }).join();
}

Namespace::~Namespace() {
  close_if_open(network_fd_);
  close_if_open(mounts_fd_);
}

Namespace::Visit::Visit(const Namespace& where)
    : network_fd_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)),
      mounts_fd_(::open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC)) {
  BENCHFS_CHECK(::unshare(CLONE_FS) == 0);  // a mount namespace cannot be entered without
  BENCHFS_CHECK(::setns(where.network_fd_, CLONE_NEWNET) == 0);
  BENCHFS_CHECK(::setns(where.mounts_fd_, CLONE_NEWNS) == 0);
}

Namespace::Visit::~Visit() {
  BENCHFS_CHECK(::setns(network_fd_, CLONE_NEWNET) == 0);
  BENCHFS_CHECK(::setns(mounts_fd_, CLONE_NEWNS) == 0);
  ::close(network_fd_);
  ::close(mounts_fd_);
}

std::unique_ptr<TestNetwork> TestNetwork::create(const std::string& directory,
                                                 Nanos delay,
                                                 std::string& why_not) {
  if (::access("/usr/sbin/ip", X_OK) != 0 || ::access("/usr/sbin/nft", X_OK) != 0) {
    why_not = "the packages iproute2 and nftables are needed";
    return nullptr;
  }
  std::unique_ptr<TestNetwork> network(
      new TestNetwork(directory));  // lint: allow new private constructor
  if (!network->server_.is_valid() || !network->client_.is_valid()) {
    why_not = "this user may not make network namespaces (root may)";
    return nullptr;
  }
  return network->join(delay, why_not) ? std::move(network) : nullptr;
}

TestNetwork::~TestNetwork() {
  if (carrier_.joinable()) {
    std::uint64_t one = 1;
    [[maybe_unused]] ssize_t written = ::write(stop_fd_, &one, sizeof one);
    carrier_.join();
  }
  close_if_open(stop_fd_);
  close_if_open(tunnels_[0]);
  close_if_open(tunnels_[1]);
}

bool TestNetwork::join(Nanos delay, std::string& why_not) {
  std::string join_ends =
      fmt::format("/usr/sbin/ip link add {0} type veth peer name {0} netns /proc/{1}/fd/{2}",
                  kDevice,
                  getpid(),
                  client_.network_fd());
  if (delay > Nanos::zero() ? !make_tunnels() : !run_in(server_, join_ends)) {
    why_not = "this kernel does not make a wire: " + problem_;
    return false;
  }
  auto set_up = [&](const Namespace& side, const char* ip) {
    return run_in(side, fmt::format("/usr/sbin/ip address add {}/24 dev {}", ip, kDevice)) &&
           run_in(side, fmt::format("/usr/sbin/ip link set {} up", kDevice)) &&
           run_in(side, "/usr/sbin/ip link set lo up");
  };
  if (!set_up(server_, kServerIp) || !set_up(client_, kClientIp) || !filter_server("accept") ||
      !heal()) {
    why_not = "this kernel does not take the settings: " + problem_;
    return false;
  }
  for (const Namespace* side : {&server_, &client_}) {
    Namespace::Visit visit(*side);
    if (!runs_in_time()) {
      why_not = "the wire stays down";
      return false;
    }
  }
  if (delay > Nanos::zero()) {
    carrier_ = std::thread([this, delay] { carry(delay); });
  }
  return true;
}

bool TestNetwork::make_tunnels() {
  {
    Namespace::Visit visit(server_);
    tunnels_[0] = open_tunnel();
  }
  {
    Namespace::Visit visit(client_);
    tunnels_[1] = open_tunnel();
  }
  stop_fd_ = eventfd(0, EFD_CLOEXEC);
  problem_ = "/dev/net/tun";
  return tunnels_[0] >= 0 && tunnels_[1] >= 0;
}

void TestNetwork::carry(Nanos delay) {
  Lane lanes[2] = {{tunnels_[0], tunnels_[1], delay}, {tunnels_[1], tunnels_[0], delay}};
  for (;;) {
    pollfd fds[3] = {
        {lanes[0].from(), POLLIN, 0}, {lanes[1].from(), POLLIN, 0}, {stop_fd_, POLLIN, 0}};
    Deadline next = lanes[0].next().earlier(lanes[1].next());
    timespec timeout{};
    timeout.tv_nsec = std::min<std::int64_t>(next.remaining().count(), 100'000'000);
    ::ppoll(fds, 3, &timeout, nullptr);
    if (fds[2].revents != 0) {
      return;
    }
    for (int i = 0; i < 2; ++i) {
      if (fds[i].revents != 0) {
        lanes[i].take();
      }
      lanes[i].deliver(mono_now());
    }
  }
}

bool TestNetwork::filter(const Namespace& side, const std::string& rule) {
  std::string path = directory_ + "/fault.nft";
  write_file(path,
             fmt::format("table inet fault {{\n  chain input {{\n    type filter hook input "
                         "priority 0;\n    {}\n  }}\n}}\n",
                         rule));
  return run_in(side, "/usr/sbin/nft -f " + path);
}

bool TestNetwork::heal() {
  for (const Namespace* side : {&server_, &client_}) {
    if (!run_in(*side, "/usr/sbin/nft flush ruleset")) {
      return false;
    }
  }
  return true;
}

bool TestNetwork::change_server_ip() {
  auto change = [this](const char* verb, const char* ip) {
    return run_in(server_, fmt::format("/usr/sbin/ip address {} {}/24 dev {}", verb, ip, kDevice));
  };
  return change("del", kServerIp) && change("add", kOtherServerIp);
}

bool TestNetwork::run_in(const Namespace& side, const std::string& command) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < command.size();) {
    std::size_t end = std::min(command.find(' ', begin), command.size());
    words.push_back(command.substr(begin, end - begin));
    begin = end + 1;
  }
  Namespace::Visit visit(side);
  Ended ended = Process(words, directory_).wait(Deadline::after(kCommandPatience));
  if (ended.exit_code != 0) {
    problem_ = fmt::format("{}: {}", command, ended.err);
  }
  return ended.exit_code == 0;
}

}  // namespace benchfs::test
