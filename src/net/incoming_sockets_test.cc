#include "net/incoming_sockets.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "net/context.h"
#include "net/testing/raw_bytes.h"
#include "net/worker.h"
#include "rt/reactor.h"

namespace benchfs::net {
namespace {

using std::chrono::milliseconds;

class Refuser final : public ConnectionAcceptor {
 public:
  explicit Refuser(Worker& worker) : worker_(worker) {}
  void on_connection_request(ucp_conn_request_h request, const SocketAddress& /*peer*/) override {
    ++requests;
    worker_.reject(request);
  }
  int requests = 0;

 private:
  Worker& worker_;
};

TEST(IncomingSockets, ARequestThatIsCompleteAfterTheListenerIsGoneIsRefused) {
  std::unique_ptr<Context> context = Context::create({}).value();
  std::unique_ptr<rt::Reactor> reactor = rt::Reactor::create().value();
  std::unique_ptr<Worker> worker =
      Worker::create(*context, *reactor, Worker::Threads::kSingle).value();
  Refuser acceptor(*worker);
  rt::Reactor::Binding binding(*reactor);
  SocketAddress address = worker->listen(make_address("127.0.0.1", 0).value(), acceptor).value();
  testing::Bytes request = testing::good_request();
  std::size_t half = request.size() / 2;
  std::vector<testing::RawConnection> peers;
  for (std::size_t sent : {std::size_t{0}, testing::kRequestHeaderBytes, half}) {
    peers.emplace_back(address);
    ASSERT_TRUE(peers.back().is_open());
    ASSERT_TRUE(peers.back().send(std::span(request).first(sent)));
  }
  // One that asks last and is heard: UCX has accepted those before it.
  testing::RawConnection last(address);
  ASSERT_TRUE(last.send(request));
  Deadline deadline = Deadline::after(std::chrono::seconds(10));
  while (acceptor.requests == 0 && !deadline.passed()) {
    reactor->turn();
  }
  ASSERT_EQ(acceptor.requests, 1);

  worker->stop_listening();
  std::size_t i = 0;
  for (std::size_t sent : {std::size_t{0}, testing::kRequestHeaderBytes, half}) {
    (void)peers[i++].send(std::span(request).subspan(sent));
  }
  for (const testing::RawConnection& peer : peers) {
    // Ended by the worker, which has to look.
    Deadline until = Deadline::after(milliseconds(100));
    while (!until.passed()) {
      reactor->turn();
    }
    EXPECT_TRUE(peer.wait_for_end());
  }
  EXPECT_EQ(acceptor.requests, 1);
}

// Requests become complete at every moment of the end of a listener and its worker.
TEST(IncomingSockets, WorkersEndWhileConnectionsComeIn) {
  constexpr int kWorkers = 100;
  constexpr int kPeers = 2;
  std::unique_ptr<Context> context = Context::create({}).value();
  std::unique_ptr<rt::Reactor> reactor = rt::Reactor::create().value();
  rt::Reactor::Binding binding(*reactor);
  std::atomic<std::uint16_t> port{0};
  std::atomic<bool> done{false};
  std::vector<std::thread> peers;
  for (int i = 0; i < kPeers; ++i) {
    peers.emplace_back([&] {
      testing::Bytes request = testing::good_request();
      while (!done) {
        testing::RawConnection peer(make_address("127.0.0.1", port).value());
        std::size_t half = request.size() / 2;
        if (peer.is_open() && peer.send(std::span(request).first(half)) &&
            peer.send(std::span(request).subspan(half))) {
          (void)peer.receive(testing::kRequestHeaderBytes);
        }
      }
    });
  }
  std::uint64_t requests = 0;
  for (int i = 0; i < kWorkers; ++i) {
    std::unique_ptr<Worker> worker =
        Worker::create(*context, *reactor, Worker::Threads::kSingle).value();
    Refuser acceptor(*worker);
    port = worker->listen(make_address("127.0.0.1", 0).value(), acceptor).value().port();
    Deadline deadline = Deadline::after(std::chrono::seconds(10));
    while (acceptor.requests == 0 && !deadline.passed()) {
      reactor->turn();
    }
    requests += static_cast<std::uint64_t>(acceptor.requests);
  }
  done = true;
  for (std::thread& peer : peers) {
    peer.join();
  }
  EXPECT_GE(requests, static_cast<std::uint64_t>(kWorkers));
}

}  // namespace
}  // namespace benchfs::net
