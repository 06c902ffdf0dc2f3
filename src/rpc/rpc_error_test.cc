// Tests the errors that a client receives when a request fails at its server.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>

#include "rpc/testing/rpc_fixture.h"

namespace benchfs::rpc {
namespace {

using testing::Client;
using testing::contains;
using testing::ServerThread;

// Answers every request with one error, or with a reply that is too short.
class FailingService final : public testing::EchoService {
 public:
  rt::Task<void> handle(Request& request) override {
    milliseconds_left = std::chrono::duration_cast<std::chrono::milliseconds>(
                            request.deadline().remaining(mono_now()))
                            .count();
    if (error) {
      co_await request.reply_error(*error);
    } else {
      co_await request.reply(wire::NoReply{});
    }
  }
  std::optional<Error> error;
  std::atomic<std::int64_t> milliseconds_left{0};
};

class ErrorOfAServer : public ::testing::Test {
 protected:
  Error fail_with(std::optional<Error> error) {
    service.error = std::move(error);
    ServerThread server({.service = &service});
    Client client("client_1", {server.address()});
    wire::MkdirRequest request{};
    Result<Reply> reply = client.call(make_call(request), Deadline::after(std::chrono::minutes(1)));
    EXPECT_FALSE(reply);
    return reply ? Error{Errc::kOk} : reply.error();
  }
  FailingService service;
};

// The server that was asked is well: the one that it needed is not, and that is the one to name.
TEST_F(ErrorOfAServer, NamesTheNodeThatFailed) {
  Error error = fail_with(
      Error{Errc::kUnreachable, 0, "node_7 at 10.0.0.7:1234 has been silent for 1.800 s"});
  EXPECT_EQ(error.code, Errc::kUnreachable);
  EXPECT_TRUE(contains(error, "mkdir on node_0: node_7 at 10.0.0.7:1234 has been silent"))
      << error.message();
}

TEST_F(ErrorOfAServer, SaysWhatTheFileSystemSaysOfIt) {
  Error error =
      fail_with(Error::from_errno(ENOSPC, "node_3: the memory limit of 4 GiB is reached"));
  EXPECT_TRUE(error.is_posix(ENOSPC));
  EXPECT_TRUE(contains(error, "node_0: node_3: the memory limit of 4 GiB is reached"))
      << error.message();
}

TEST_F(ErrorOfAServer, WithoutATextIsARefusal) {
  Error error = fail_with(Error{Errc::kVersion, 0, {}});
  EXPECT_EQ(error.code, Errc::kVersion);
  EXPECT_TRUE(contains(error, "mkdir on node_0: refused by the server")) << error.message();
}

TEST_F(ErrorOfAServer, HasATextThatFitsAndIsPrintable) {
  Error error = fail_with(Error{Errc::kUnreachable, 0, std::string(1000, 'x') + "\n"});
  EXPECT_TRUE(contains(error, std::string(wire::kMaxErrorText, 'x')));
  EXPECT_FALSE(contains(error, std::string(wire::kMaxErrorText + 1, 'x')));
  error = fail_with(Error{Errc::kUnreachable, 0, "a\nb\x1b[2J"});
  EXPECT_TRUE(contains(error, "a?b?[2J")) << error.message();
}

TEST_F(ErrorOfAServer, IsNamedWhenItsReplyIsTooShort) {
  Error error = fail_with(std::nullopt);
  EXPECT_EQ(error.code, Errc::kMalformed);
  EXPECT_TRUE(contains(error, "mkdir on node_0: the reply has 0 bytes")) << error.message();
}

// Otherwise the caller's own deadline would pass before the answer that names the silent node.
TEST_F(ErrorOfAServer, ComesBeforeTheCallerStopsWaiting) {
  (void)fail_with(Error::from_errno(ENOENT));
  EXPECT_GT(service.milliseconds_left, 0);
  EXPECT_LE(service.milliseconds_left, 60'000 - 250);
}

}  // namespace
}  // namespace benchfs::rpc
