// Tests what a process with UCX keeps from its children and leaves to its own threads.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "net/context.h"
#include "net/testing/raw_peer.h"
#include "net/ucx_calls.h"
#include "net/worker.h"

namespace benchfs::net {
namespace {

namespace fs = std::filesystem;

std::set<int> open_numbers() {
  std::set<int> numbers;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    numbers.insert(std::stoi(entry.path().filename()));
  }
  return numbers;
}

// Descriptors that a child of exec would have, with what they are.
std::string inheritable(const std::set<int>& before) {
  std::string found;
  for (int fd : open_numbers()) {
    int flags = before.contains(fd) ? FD_CLOEXEC : ::fcntl(fd, F_GETFD);
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0) {
      std::error_code error;
      found += std::to_string(fd) + " " +
               fs::read_symlink("/proc/self/fd/" + std::to_string(fd), error).string() + "\n";
    }
  }
  return found;
}

// The signals that the threads of this process block, as /proc says, but for the first thread.
std::set<std::string> blocked_by_other_threads() {
  std::set<std::string> masks;
  for (const auto& entry : fs::directory_iterator("/proc/self/task")) {
    if (entry.path().filename() == std::to_string(::getpid())) {
      continue;
    }
    std::ifstream status(entry.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("SigBlk:")) {
        masks.insert(line.substr(line.find_first_of("0123456789abcdef", 7)));
      }
    }
  }
  return masks;
}

class Acceptor final : public ConnectionAcceptor, public link::Owner {
 public:
  void on_connection_request(ucp_conn_request_h request, const SocketAddress&) override {
    auto endpoint = worker->accept(request, *this);
    ASSERT_TRUE(endpoint) << endpoint.error().message();
  }
  void on_link_failed(link::Link& link, const link::Outcome&) override { link.close(); }
  Worker* worker = nullptr;
};

class Owner final : public link::Owner {
 public:
  void on_link_failed(link::Link& link, const link::Outcome&) override {
    failed = true;
    link.close();
  }
  bool failed = false;
};

rt::Task<void> flush(Endpoint* endpoint, Errc* code, bool* done) {
  *code = (co_await endpoint->flush()).code;
  *done = true;
}

TEST(UcxCalls, LeaveNoDescriptorToAChildAndTakeNoSignal) {
  std::set<int> before = open_numbers();
  auto context = Context::create({}).value();
  auto reactor = rt::Reactor::create().value();
  rt::Reactor::Binding binding(*reactor);
  auto server = Worker::create(*context, *reactor, Worker::Threads::kSingle).value();
  auto client = Worker::create(*context, *reactor, Worker::Threads::kSingle).value();
  Acceptor acceptor;
  acceptor.worker = server.get();
  SocketAddress address = server->listen(make_address("127.0.0.1", 0).value(), acceptor).value();
  Owner owner;
  Endpoint* endpoint = client->connect(address, owner).value();
  Errc code = Errc::kInternal;
  bool done = false;
  reactor->block_on(flush(endpoint, &code, &done));
  ASSERT_TRUE(done);
  EXPECT_EQ(code, Errc::kOk);
  EXPECT_EQ(inheritable(before), "");
  // All but SIGKILL (9), SIGSTOP (19), and 32 and 33, which are libc's own.
  EXPECT_EQ(blocked_by_other_threads(), (std::set<std::string>{"fffffffe7ffbfeff"}));
  endpoint->close();
  EXPECT_TRUE(client->drain(Deadline::after(std::chrono::seconds(10))));
  EXPECT_TRUE(server->drain(Deadline::after(std::chrono::seconds(10))));
}

// The address of a socket that listens on loopback.
sockaddr_in listen_on_loopback(int fd) {
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof(address);
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::listen(fd, 2), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  return address;
}

TEST(UcxSend, LeavesItToTheReceiverToTellThatAConnectionHasEnded) {
  int port = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = listen_on_loopback(port);
  for (int i = 0; i < 2; ++i) {  // also when the same number is given out again
    int here = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::connect(here, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    int there = ::accept4(port, nullptr, nullptr, SOCK_CLOEXEC);
    ASSERT_GE(there, 0);
    EXPECT_EQ(send_or_put_off(here, "x", 1, MSG_NOSIGNAL), 1);
    linger reset{.l_onoff = 1, .l_linger = 0};
    ASSERT_EQ(::setsockopt(there, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    ::close(there);
    pollfd hung_up{.fd = here, .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&hung_up, 1, 10000), 1);
    EXPECT_EQ(send_or_put_off(here, "x", 1, MSG_NOSIGNAL), -1);
    EXPECT_EQ(errno, EAGAIN);
    char byte = 0;
    EXPECT_EQ(::recv(here, &byte, 1, 0), 0) << "the receiver sees the end";
    EXPECT_EQ(send_or_put_off(here, "x", 1, MSG_NOSIGNAL), -1);
    EXPECT_EQ(errno, EPIPE) << "nobody repeats it for ever";
    ::close(here);
  }
  ::close(port);
}

// UCX's thread does not exist in the child of a process in which UCX is up.
TEST(ForkedChild, IsToldThatUcxCannotBeUsedWhileItsParentUsesIt) {
  auto in_child = [](auto judge) {
    pid_t child = ::fork();
    if (child == 0) {
      auto context = Context::create({});
      ::_exit(judge(context) ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  };
  auto is_refused = [](auto& context) {
    return !context && context.error().message().find("fork") != std::string::npos;
  };
  auto is_made = [](auto& context) { return context.has_value(); };
  EXPECT_TRUE(in_child(is_made)) << "nobody uses UCX";
  {
    auto context = Context::create({}).value();
    EXPECT_TRUE(in_child(is_refused));
  }
  EXPECT_TRUE(in_child(is_made)) << "nobody uses UCX any more";
}

TEST(Context, IsRefusedWhereNoThreadCanBeStarted) {
  pid_t child = ::fork();
  if (child == 0) {
    rlimit none{};
    bool is_limited = ::setrlimit(RLIMIT_NPROC, &none) == 0 &&
                      (::getuid() != 0 || ::setuid(65534) == 0);  // root has no such limit
    auto context = Context::create({});
    bool is_told = !context && context.error().message().find("threads") != std::string::npos;
    ::_exit(is_limited && is_told ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace benchfs::net
