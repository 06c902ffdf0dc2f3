// Tests what a process with UCX keeps from its children and leaves to its own threads.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "net/context.h"
#include "net/testing/raw_peer.h"
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

}  // namespace
}  // namespace benchfs::net
