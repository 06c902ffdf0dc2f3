#include "net/interfaces.h"

#include <dirent.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

namespace benchfs::net {
namespace {

struct Interface {
  std::string name;
  SocketAddress address;
  bool is_running = false;
  bool is_loopback = false;
  bool is_bridge = false;
};

bool is_link_local(const SocketAddress& address) {
  if (address.storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    return IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) != 0;
  }
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
  return (ntohl(v4->sin_addr.s_addr) >> 16) == 0xa9fe;
}

bool is_bridge(const std::string& name) {
  return ::access(("/sys/class/net/" + name + "/bridge").c_str(), F_OK) == 0;
}

// Those that are up and have an address that means something elsewhere, IPv4 first.
Result<std::vector<Interface>> list_interfaces() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) {
    return fail_system(errno, "listing network interfaces");
  }
  std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, freeifaddrs);
  std::vector<Interface> found;
  for (int family : {AF_INET, AF_INET6}) {
    for (ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
      if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != family ||
          (entry->ifa_flags & IFF_UP) == 0) {
        continue;
      }
      Interface one;
      one.name = entry->ifa_name;
      one.address.length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
      std::memcpy(&one.address.storage, entry->ifa_addr, one.address.length);
      one.is_running = (entry->ifa_flags & IFF_RUNNING) != 0;
      one.is_loopback = (entry->ifa_flags & IFF_LOOPBACK) != 0;
      if (is_link_local(one.address)) {
        continue;
      }
      one.is_bridge = is_bridge(one.name);
      found.push_back(std::move(one));
    }
  }
  return found;
}

// The address from which the kernel would send there. Nothing is sent.
std::optional<std::string> source_towards(const SocketAddress& there) {
  int fd = ::socket(there.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return std::nullopt;
  }
  SocketAddress here;
  here.length = sizeof here.storage;
  bool is_known = ::connect(fd, there.get(), there.length) == 0 &&
                  ::getsockname(fd, reinterpret_cast<sockaddr*>(&here.storage), &here.length) == 0;
  ::close(fd);
  if (!is_known) {
    return std::nullopt;
  }
  return here.ip();
}

// Addresses for documentation: only a default route leads there.
std::optional<std::string> default_source() {
  for (const char* outside : {"192.0.2.1", "2001:db8::1"}) {
    std::optional<std::string> source = source_towards(make_address(outside, 9).value());
    auto address = source ? make_address(*source, 0) : fail(Errc::kConfig, {});
    if (address && !address->is_loopback() && !is_link_local(*address)) {
      return source;
    }
  }
  return std::nullopt;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), ::closedir);
  while (const dirent* entry = open ? ::readdir(open.get()) : nullptr) {
    if (entry->d_name[0] != '.') {
      names.emplace_back(entry->d_name);
    }
  }
  return names;
}

bool is_active(const std::string& port) {
  std::FILE* state = std::fopen((port + "/state").c_str(), "re");
  bool is_active = state != nullptr && std::fgetc(state) == '4';
  if (state != nullptr) {
    std::fclose(state);
  }
  return is_active;
}

std::vector<std::string> infiniband_ports() {
  std::vector<std::string> ports;
  const std::string devices = "/sys/class/infiniband/";
  for (const std::string& device : names_in(devices)) {
    const std::string below = devices + device + "/ports/";
    for (const std::string& port : names_in(below)) {
      if (is_active(below + port)) {
        ports.push_back(fmt::format("{}:{}", device, port));
      }
    }
  }
  std::ranges::sort(ports);
  return ports;
}

bool user_chose_devices() {
  return std::getenv("UCX_NET_DEVICES") != nullptr;
}

std::string device_list(const std::set<std::string>& interfaces) {
  std::vector<std::string> devices = infiniband_ports();
  devices.insert(devices.end(), interfaces.begin(), interfaces.end());
  return fmt::format("{}", fmt::join(devices, ","));
}

}  // namespace

Result<std::string> routable_ip(std::string_view interface_name) {
  BENCHFS_TRY(std::vector<Interface> interfaces, list_interfaces());
  if (!interface_name.empty()) {
    auto named = std::ranges::find(interfaces, interface_name, &Interface::name);
    if (named == interfaces.end()) {
      return fail(Errc::kConfig,
                  fmt::format("network interface {} has no address", interface_name));
    }
    return named->address.ip();
  }
  if (std::optional<std::string> source = default_source()) {
    return *source;
  }
  std::erase_if(interfaces, &Interface::is_loopback);
  if (interfaces.empty()) {
    return "127.0.0.1";
  }
  auto rank = [](const Interface& one) {
    return 2 * (one.is_running ? 0 : 1) + (one.is_bridge ? 1 : 0);
  };
  return std::ranges::min_element(interfaces, {}, rank)->address.ip();
}

std::vector<std::string> other_addresses(const std::string& ip) {
  std::vector<std::string> others;
  auto interfaces = list_interfaces();
  if (!interfaces) {
    return others;
  }
  for (const Interface& one : *interfaces) {
    if (!one.is_loopback && one.is_running && !one.is_bridge && one.address.ip() != ip) {
      others.push_back(fmt::format("{} ({})", one.address.ip(), one.name));
    }
  }
  return others;
}

std::string devices_at(const std::string& ip) {
  auto interfaces = list_interfaces();
  if (!interfaces || user_chose_devices()) {
    return {};
  }
  auto address = make_address(ip, 0);
  bool is_loopback = address && address->is_loopback();
  auto has_it = [&](const Interface& one) {
    return is_loopback ? one.is_loopback : one.address.ip() == ip;
  };
  auto found = std::ranges::find_if(*interfaces, has_it);
  if (found == interfaces->end()) {
    return {};
  }
  return found->is_loopback ? found->name : device_list({found->name});
}

std::string devices_towards(std::span<const SocketAddress> servers) {
  auto interfaces = list_interfaces();
  if (!interfaces || user_chose_devices()) {
    return {};
  }
  std::set<std::string> names;
  bool is_all_loopback = true;
  for (const SocketAddress& server : servers) {
    std::optional<std::string> source = source_towards(server);
    auto has_it = [&source](const Interface& one) { return source && one.address.ip() == *source; };
    auto found = std::ranges::find_if(*interfaces, has_it);
    if (found == interfaces->end()) {
      return {};  // the attempt to connect will say what is wrong
    }
    names.insert(found->name);
    is_all_loopback = is_all_loopback && found->is_loopback;
  }
  if (names.empty()) {
    return {};
  }
  return is_all_loopback ? *names.begin() : device_list(names);
}

std::set<std::string> local_ips() {
  std::set<std::string> ips;
  if (auto interfaces = list_interfaces()) {
    for (const Interface& one : *interfaces) {
      ips.insert(one.address.ip());
    }
  }
  return ips;
}

}  // namespace benchfs::net
