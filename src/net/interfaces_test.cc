#include "net/interfaces.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "net/memory_access.h"

namespace benchfs::net {
namespace {

// Runs `body` in a network of its own that has nothing but loopback; false when that is not allowed
// here.
template <typename Body>
bool in_own_network(Body body) {
  bool is_made = false;
  std::thread([&] {
    is_made = ::unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 &&
              ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
              ::mount("sysfs", "/sys", "sysfs", 0, nullptr) == 0;
    if (is_made) {
      body();
    }
  }).join();
  return is_made;
}

void ip(const std::string& arguments) {
  std::string command = "PATH=/usr/sbin:/sbin:$PATH ip " + arguments;
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

// An interface with a peer, so that it runs.
void add_interface(const std::string& name) {
  ip("link add " + name + " type veth peer name " + name + "p");
  ip("link set " + name + " up");
  ip("link set " + name + "p up");
}

SocketAddress at(const std::string& text) {
  return make_address(text, 1).value();
}

std::string towards(std::vector<SocketAddress> servers) {
  return devices_towards(servers);
}

#define IN_OWN_NETWORK(...)                              \
  if (!in_own_network([] __VA_ARGS__)) {                 \
    GTEST_SKIP() << "no network of its own may be made"; \
  }

TEST(Interfaces, ALoneHostUsesLoopback) {
  IN_OWN_NETWORK({
    ip("link set lo up");
    EXPECT_EQ(routable_ip(""), "127.0.0.1");
    EXPECT_EQ(devices_at("127.0.0.1"), "lo");
    EXPECT_EQ(towards({at("127.0.0.1")}), "lo");
    EXPECT_EQ(devices_at("10.1.0.5"), "");
    EXPECT_TRUE(local_ips().contains("127.0.0.1"));
    EXPECT_FALSE(local_ips().contains("10.1.0.5"));
  });
}

// Its bridge comes first and has an address that every host has.
TEST(Interfaces, ABridgeIsNotWhatOthersReach) {
  IN_OWN_NETWORK({
    ip("link set lo up");
    ip("link add docker0 type bridge");
    ip("link set docker0 up");
    ip("address add 172.17.0.1/16 dev docker0");
    EXPECT_EQ(routable_ip(""), "172.17.0.1") << "there is nothing else";
    add_interface("eth7");
    ip("address add 10.1.0.5/24 dev eth7");
    EXPECT_EQ(routable_ip(""), "10.1.0.5");
    EXPECT_EQ(routable_ip("docker0"), "172.17.0.1");
    EXPECT_EQ(devices_at("10.1.0.5"), "eth7");
    EXPECT_EQ(other_addresses("10.1.0.5"), std::vector<std::string>());
    EXPECT_EQ(towards({at("10.1.0.9")}), "eth7");
  });
}

TEST(Interfaces, OfSeveralTheOneWithTheDefaultRouteIsTaken) {
  IN_OWN_NETWORK({
    ip("link set lo up");
    add_interface("eth7");
    add_interface("eth8");
    ip("address add 10.1.0.5/24 dev eth7");
    ip("address add 10.2.0.5/24 dev eth8");
    EXPECT_EQ(routable_ip(""), "10.1.0.5") << "the first";
    ip("route add default via 10.2.0.1");
    EXPECT_EQ(routable_ip(""), "10.2.0.5");
    EXPECT_EQ(routable_ip("eth7"), "10.1.0.5");
    EXPECT_EQ(other_addresses("10.2.0.5"), std::vector<std::string>{"10.1.0.5 (eth7)"});
    EXPECT_EQ(towards({at("10.1.0.9")}), "eth7");
    EXPECT_EQ(towards({at("10.1.0.9"), at("10.2.0.9")}), "eth7,eth8");
    EXPECT_EQ(towards({at("10.77.0.1")}), "eth8");
    EXPECT_EQ(towards({at("10.1.0.5")}), "eth7") << "a server on this host";
    auto unknown = routable_ip("eth9");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, Errc::kConfig);
  });
}

TEST(Interfaces, AHostWithoutIpv4UsesIpv6) {
  IN_OWN_NETWORK({
    ip("link set lo up");
    add_interface("eth7");
    ip("address add fd00::5/64 dev eth7 nodad");
    EXPECT_EQ(routable_ip(""), "fd00::5");
    EXPECT_EQ(devices_at("fd00::5"), "eth7");
    EXPECT_EQ(towards({at("fd00::9")}), "eth7");
    ip("-6 route add default via fd00::1");
    EXPECT_EQ(routable_ip(""), "fd00::5");
  });
}

TEST(Interfaces, WhatTheUserSetForUcxStays) {
  ::setenv("UCX_NET_DEVICES", "eth7", 1);
  EXPECT_EQ(devices_at("127.0.0.1"), "");
  EXPECT_EQ(towards({at("127.0.0.1")}), "");
  ::unsetenv("UCX_NET_DEVICES");
}

// Returns what a child that first calls `change` may share with its parent, or nothing if the call
// is not permitted.
template <typename Change>
std::optional<Sharing> sharing_with_parent(Change change) {
  constexpr int kNotAllowed = 77;
  pid_t parent = ::getpid();
  pid_t child = ::fork();
  if (child == 0) {
    ::_exit(change() ? static_cast<int>(sharing_with(parent)) : kNotAllowed);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNotAllowed) {
    return std::nullopt;
  }
  return static_cast<Sharing>(WEXITSTATUS(status));
}

TEST(MemoryAccess, IsFullBetweenEquals) {
  EXPECT_EQ(sharing_with(::getpid()), Sharing::kMemory);
  EXPECT_EQ(sharing_with_parent([] { return true; }), Sharing::kMemory);
}

TEST(MemoryAccess, EndsAtUserIpcNamespaceAndUser) {
  // A container that maps users does the same.
  auto user = sharing_with_parent([] { return ::unshare(CLONE_NEWUSER) == 0; });
  EXPECT_TRUE(!user || *user < Sharing::kMemory);
  auto ipc = sharing_with_parent([] { return ::unshare(CLONE_NEWIPC) == 0; });
  EXPECT_TRUE(!ipc || *ipc == Sharing::kNothing);
  auto other = sharing_with_parent([] { return ::setgid(4321) == 0 && ::setuid(4321) == 0; });
  EXPECT_TRUE(!other || *other == Sharing::kNothing);
}

}  // namespace
}  // namespace benchfs::net
