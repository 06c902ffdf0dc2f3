#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/hash.h"
#include "net/address.h"
#include "net/bundle.h"
#include "net/closed_sockets.h"
#include "net/context.h"
#include "net/interfaces.h"
#include "net/testing/raw_peer.h"
#include "net/worker.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "wire/opcode.h"

namespace benchfs::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint16_t kCopied = 1;      // eager data is copied in the handler
constexpr std::uint16_t kPersistent = 2;  // all data is held
constexpr std::uint16_t kDropped = 3;     // all data is dropped

std::vector<std::byte> make_bytes(std::size_t size, std::uint64_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>(mix64(seed + (i >> 3)) >> (8 * (i & 7)));
  }
  return bytes;
}

std::size_t open_descriptors() {
  std::error_code error;
  std::size_t count = 0;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end; entry != end;
       entry.increment(error)) {
    ++count;
  }
  return count;
}

// One side: everything a worker needs, and a record of what happened to it.
class Node final : public link::Handler, public link::Owner, public ConnectionAcceptor {
 public:
  struct Message {
    std::uint16_t id = 0;
    std::vector<std::byte> header;
    std::vector<std::byte> data;  // what was copied
    void* descriptor = nullptr;   // what is held
    std::size_t length = 0;
    bool is_rendezvous = false;
  };

  Node() {
    worker->set_handler(kCopied, *this, false).value();
    worker->set_handler(kPersistent, *this, true).value();
    worker->set_handler(kDropped, *this, false).value();
  }
  ~Node() override {
    rt::Reactor::Binding binding(*reactor);
    for (Endpoint* endpoint : endpoints) {
      endpoint->close();
    }
    release_all();
    EXPECT_TRUE(worker->drain(Deadline::after(seconds(10))));
    EXPECT_EQ(scope.active(), 0U);
    worker->remove_handler(*this);
  }

  // Another worker in place of the one there is, which has none of our endpoints open.
  void restart() {
    worker.reset();
    worker = Worker::create(*context, *reactor, Worker::Threads::kSingle).value();
  }

  SocketAddress listen() {
    return worker->listen(make_address("127.0.0.1", 0).value(), *this).value();
  }
  Endpoint& connect(const SocketAddress& address) {
    endpoints.push_back(worker->connect(address, *this).value());
    return *endpoints.back();
  }
  void close(Endpoint& endpoint, Nanos flush = Nanos::zero()) {
    std::erase(endpoints, &endpoint);
    endpoint.close(flush);
  }
  void close_all(Nanos flush = Nanos::zero()) {
    for (Endpoint* endpoint : endpoints) {
      endpoint->close(flush);
    }
    endpoints.clear();
  }
  void turn() {
    rt::Reactor::Binding binding(*reactor);
    reactor->turn();
  }
  void release_all() {
    for (Message& message : messages) {
      if (message.descriptor != nullptr) {
        worker->release(std::exchange(message.descriptor, nullptr));
      }
    }
  }

  // Starts a send; its status joins `sent` at its end.
  void send(Endpoint& endpoint, link::Message message) {
    rt::Reactor::Binding binding(*reactor);
    scope.spawn(send_task(endpoint, message));
  }
  void flush(Endpoint& endpoint) {
    rt::Reactor::Binding binding(*reactor);
    scope.spawn(flush_task(endpoint));
  }
  // Starts to receive a held message; its status joins `received`.
  void receive(Endpoint& endpoint, Message& message, const MemoryRegion* region = nullptr) {
    rt::Reactor::Binding binding(*reactor);
    message.data.resize(message.length);
    scope.spawn(receive_task(endpoint, message, region));
  }

  // Use an endpoint in the moment after close().
  void close_and_send(Endpoint& endpoint) {
    rt::Reactor::Binding binding(*reactor);
    scope.spawn(close_and_send_task(endpoint));
  }
  void close_and_receive(Endpoint& endpoint) {
    rt::Reactor::Binding binding(*reactor);
    scope.spawn(close_and_receive_task(endpoint));
  }

  link::Disposition on_message(const link::Incoming& in) override {
    Message message{.id = in.id, .header = {in.header.begin(), in.header.end()}};
    message.length = in.length;
    message.is_rendezvous = in.is_rendezvous;
    bool hold = in.id == kPersistent || (in.id == kCopied && in.is_rendezvous);
    if (hold && in.length > 0) {
      EXPECT_TRUE(in.can_hold);
      message.descriptor = in.data;
    } else if (in.id == kCopied && in.length > 0) {
      const auto* bytes = static_cast<const std::byte*>(in.data);
      message.data.assign(bytes, bytes + in.length);
    }
    messages.push_back(std::move(message));
    return messages.back().descriptor != nullptr ? link::Disposition::kHold
                                                 : link::Disposition::kDone;
  }
  void on_link_failed(link::Link& link, const link::Outcome& why) override {
    failures.push_back(why.code);
    close(static_cast<Endpoint&>(link));
  }
  void on_connection_request(ucp_conn_request_h request, const SocketAddress& peer) override {
    peers.push_back(peer);
    if (refuse) {
      worker->reject(request);
    } else {
      endpoints.push_back(worker->accept(request, *this).value());
    }
  }

  std::unique_ptr<Context> context = Context::create({}).value();
  std::unique_ptr<rt::Reactor> reactor = rt::Reactor::create().value();
  std::unique_ptr<Worker> worker =
      Worker::create(*context, *reactor, Worker::Threads::kSingle).value();
  rt::Scope scope;
  std::vector<Endpoint*> endpoints;
  std::deque<Message> messages;
  std::vector<SocketAddress> peers;
  std::vector<Errc> failures;
  std::vector<Errc> sent;
  std::vector<Errc> received;
  std::vector<Errc> flushed;
  bool refuse = false;

 private:
  // False when it was closed after the task was spawned.
  [[nodiscard]] bool is_ours(const Endpoint& endpoint) const {
    return std::ranges::find(endpoints, &endpoint) != endpoints.end();
  }
  rt::Task<void> send_task(Endpoint& endpoint, link::Message message) {
    sent.push_back(is_ours(endpoint) ? (co_await endpoint.send(message)).code : Errc::kCancelled);
  }
  rt::Task<void> close_and_send_task(Endpoint& endpoint) {
    close(endpoint, seconds(5));
    endpoint.send_and_forget(kCopied, {});
    sent.push_back((co_await endpoint.send({.id = kCopied})).code);
  }
  rt::Task<void> close_and_receive_task(Endpoint& endpoint) {
    close(endpoint);
    for (Message& message : messages) {
      void* descriptor = std::exchange(message.descriptor, nullptr);
      received.push_back(
          (co_await endpoint.receive({descriptor, worker.get()}, message.data)).code);
    }
  }
  rt::Task<void> flush_task(Endpoint& endpoint) {
    flushed.push_back((co_await endpoint.flush()).code);
  }
  rt::Task<void> receive_task(Endpoint& endpoint, Message& message, const MemoryRegion* region) {
    void* descriptor = std::exchange(message.descriptor, nullptr);
    if (!is_ours(endpoint)) {
      worker->release(descriptor);
      received.push_back(Errc::kCancelled);
      co_return;
    }
    received.push_back(
        (co_await endpoint.receive({descriptor, worker.get()}, message.data, region)).code);
  }
};

// Drives both sides until `condition` holds; false after ten seconds.
bool drive(Node& a, Node& b, const std::function<bool()>& condition) {
  Deadline deadline = Deadline::after(seconds(10));
  while (!condition() && !deadline.passed()) {
    a.turn();
    b.turn();
  }
  return condition();
}

// A client connected to a server, with the endpoints of both.
class Pair : public ::testing::Test {
 protected:
  void SetUp() override { connect(); }
  void connect() {
    if (!address.length) {
      address = server.listen();
    }
    to_server = &client.connect(address);
    client.flushed.clear();
    client.sent.clear();
    server.messages.clear();
    client.flush(*to_server);
    ASSERT_TRUE(drive(client, server, [&] { return !client.flushed.empty(); }));
    client.send(*to_server, {.id = kDropped});
    ASSERT_TRUE(
        drive(client, server, [&] { return !server.messages.empty() && !client.sent.empty(); }));
    to_client = server.endpoints.back();
    server.messages.clear();
    client.sent.clear();
  }
  std::vector<std::byte> exchange(
      Node& from, Endpoint& endpoint, Node& to, Endpoint& back, link::Message message) {
    to.messages.clear();
    from.sent.clear();
    to.received.clear();
    from.send(endpoint, message);
    EXPECT_TRUE(drive(from, to, [&] { return !to.messages.empty(); }));
    if (to.messages.empty()) {
      return {};
    }
    Node::Message& got = to.messages.front();
    EXPECT_EQ(got.length, message.data.size());
    EXPECT_TRUE(std::ranges::equal(got.header, message.header));
    if (got.descriptor != nullptr && got.is_rendezvous) {
      to.receive(back, got);
      EXPECT_TRUE(drive(from, to, [&] { return !to.received.empty(); }));
      EXPECT_EQ(to.received.front(), Errc::kOk);
    } else if (got.descriptor != nullptr) {
      const auto* bytes = static_cast<const std::byte*>(got.descriptor);
      got.data.assign(bytes, bytes + got.length);
      to.release_all();
    }
    EXPECT_TRUE(drive(from, to, [&] { return !from.sent.empty(); }));
    EXPECT_EQ(from.sent.front(), Errc::kOk);
    return got.data;
  }

  Node server;
  Node client;
  SocketAddress address;
  Endpoint* to_server = nullptr;
  Endpoint* to_client = nullptr;
};

// --- Addresses -----------------------------------------------------------------------------------

// A second close() of a number, which UCX does, must not free it for somebody whose descriptor is
// then closed when the number's time is over.
TEST(ClosedSockets, ClosingTwiceIsAnErrorAndClosesNothingElse) {
  int victim = socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_GE(victim, 0);
  ASSERT_EQ(close_and_keep_number(victim), 0);
  EXPECT_EQ(close_and_keep_number(victim), -1);
  EXPECT_EQ(errno, EBADF);
  std::vector<int> later;
  for (int i = 0; i < 300; ++i) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_GE(fd, 0);
    EXPECT_EQ(i < 100 && fd == victim, false) << "the number was free at once";
    int alive = eventfd(0, EFD_CLOEXEC);
    ASSERT_EQ(close_and_keep_number(fd), 0);
    later.push_back(alive);
  }
  for (int fd : later) {
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC) << "was closed by somebody else";
    close_and_keep_number(fd);
  }
}

// UCX may still remember events of their former sockets.
TEST(ClosedSockets, NumbersStayTakenUntilEveryWorkerHasLooked) {
  constexpr std::size_t kClosed = 500;  // more than stay kept in any case
  auto close_many = [](SocketLooker& before) {
    before.begin();  // too early to count
    for (std::size_t i = 0; i < kClosed; ++i) {
      int fd = socket(AF_INET, SOCK_STREAM, 0);
      ASSERT_GE(fd, 0);
      ASSERT_EQ(listen(fd, 1), 0);
      ASSERT_EQ(close_and_keep_number(fd), 0);
    }
    before.end();
  };
  SocketLooker one;
  SocketLooker other;
  close_many(one);
  EXPECT_GE(kept_numbers(), kClosed);
  one.begin();
  one.end();
  EXPECT_GE(kept_numbers(), kClosed);
  other.begin();
  other.end();
  EXPECT_LT(kept_numbers(), kClosed);
}

TEST(SocketAddress, NumericAddressesKeepTheirText) {
  EXPECT_EQ(make_address("192.168.1.10", 45678).value().to_string(), "192.168.1.10:45678");
  EXPECT_EQ(make_address("fe00::12", 7).value().to_string(), "[fe00::12]:7");
  EXPECT_EQ(make_address("::1", 65535).value().ip(), "::1");
  EXPECT_EQ(make_address("::1", 65535).value().port(), 65535);
}

TEST(SocketAddress, TextThatIsNoAddressIsRefusedByName) {
  for (const char* text : {"", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.4 ", "::g", "[::1]"}) {
    Result<SocketAddress> address = make_address(text, 1);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code, Errc::kInvalidArgument);
    EXPECT_NE(address.error().message().find(text), std::string::npos);
  }
}

TEST(SocketAddress, LoopbackAndAnyAreRecognised) {
  EXPECT_TRUE(make_address("127.0.0.1", 1)->is_loopback());
  EXPECT_TRUE(make_address("127.9.9.9", 1)->is_loopback());
  EXPECT_TRUE(make_address("::1", 1)->is_loopback());
  EXPECT_FALSE(make_address("10.0.0.1", 1)->is_loopback());
  EXPECT_FALSE(make_address("::2", 1)->is_loopback());
  EXPECT_TRUE(make_address("0.0.0.0", 1)->is_any());
  EXPECT_TRUE(make_address("::", 1)->is_any());
  EXPECT_FALSE(make_address("127.0.0.1", 1)->is_any());
}

TEST(RoutableIp, IsAnAddressOfTheNamedInterface) {
  EXPECT_EQ(routable_ip("lo").value(), "127.0.0.1");
  Result<std::string> unknown = routable_ip("no-such-if0");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::kConfig);
  EXPECT_NE(unknown.error().message().find("no-such-if0"), std::string::npos);
  EXPECT_TRUE(make_address(routable_ip("").value(), 1));
}

// --- Connections ---------------------------------------------------------------------------------

TEST(Listener, TakesAFreePortAndRefusesOneInUse) {
  Node first;
  Node second;
  SocketAddress bound = first.listen();
  EXPECT_EQ(bound.ip(), "127.0.0.1");
  EXPECT_NE(bound.port(), 0);
  Result<SocketAddress> again = second.worker->listen(bound, second);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message().find(bound.to_string()), std::string::npos);
  EXPECT_TRUE(second.worker->listen(make_address("127.0.0.1", 0).value(), second));
}

TEST(Listener, GivesItsPortBack) {
  Node first;
  SocketAddress bound = first.listen();
  first.worker->stop_listening();
  Node second;
  EXPECT_TRUE(second.worker->listen(bound, second));
}

TEST_F(Pair, TheAcceptorLearnsThePeersAddress) {
  ASSERT_EQ(server.peers.size(), 1U);
  EXPECT_EQ(server.peers[0].ip(), "127.0.0.1");
  EXPECT_NE(server.peers[0].port(), 0);
}

TEST(Connect, ARefusedPortIsReportedToTheOwner) {
  Node listener;
  SocketAddress address = listener.listen();
  listener.worker->stop_listening();
  Node client;
  Endpoint& endpoint = client.connect(address);
  client.send(endpoint, {.id = kCopied});
  ASSERT_TRUE(drive(client, listener, [&] { return !client.failures.empty(); }));
  EXPECT_EQ(client.failures[0], Errc::kUnreachable);
  ASSERT_TRUE(drive(client, listener, [&] { return !client.sent.empty(); }));
  EXPECT_NE(client.sent[0], Errc::kOk);
  EXPECT_TRUE(drive(client, listener, [&] { return client.worker->endpoint_count() == 0; }));
}

TEST(Connect, ARejectedRequestIsReportedToTheOwner) {
  Node listener;
  listener.refuse = true;
  Node client;
  client.connect(listener.listen());
  ASSERT_TRUE(drive(client, listener, [&] { return !client.failures.empty(); }));
  EXPECT_EQ(listener.peers.size(), 1U);
  EXPECT_EQ(listener.worker->endpoint_count(), 0U);
}

TEST_F(Pair, APeerThatClosesIsReportedOnce) {
  client.close(*to_server);
  ASSERT_TRUE(drive(client, server, [&] { return server.worker->endpoint_count() == 0; }));
  EXPECT_EQ(server.failures.size(), 1U);
  EXPECT_TRUE(client.failures.empty());
  EXPECT_EQ(client.worker->endpoint_count(), 0U);
}

TEST_F(Pair, ClosingTwiceIsClosingOnce) {
  to_server->close(seconds(1));
  client.close(*to_server);
  EXPECT_TRUE(drive(client, server, [&] { return client.worker->endpoint_count() == 0; }));
}

TEST_F(Pair, SendingOnAClosedEndpointFailsAtOnce) {
  client.close_and_send(*to_server);
  client.turn();
  ASSERT_EQ(client.sent.size(), 1U);
  EXPECT_EQ(client.sent[0], Errc::kDisconnected);
  EXPECT_TRUE(drive(client, server, [&] { return client.worker->endpoint_count() == 0; }));
  EXPECT_TRUE(server.messages.empty());
}

// --- Messages ------------------------------------------------------------------------------------

TEST_F(Pair, MessagesOfEverySizeArriveIntactBothWays) {
  std::uint64_t seed = 0;
  for (std::size_t size :
       {0U,    1U,    7U,    8U,     92U,    93U,    94U,    128U,    255U,     4096U,   8128U,
        8192U, 8256U, 8257U, 16384U, 65535U, 65536U, 65537U, 262144U, 1048576U, 8388608U}) {
    for (link::Protocol protocol :
         {link::Protocol::kAuto, link::Protocol::kEager, link::Protocol::kRendezvous}) {
      for (std::uint16_t id : {kCopied, kPersistent}) {
        std::vector<std::byte> header = make_bytes(size % 97, ++seed);
        std::vector<std::byte> data = make_bytes(size, ++seed);
        link::Message message{.id = id, .header = header, .data = data, .protocol = protocol};
        EXPECT_EQ(exchange(client, *to_server, server, *to_client, message), data) << size;
        EXPECT_EQ(exchange(server, *to_client, client, *to_server, message), data) << size;
      }
    }
  }
}

TEST_F(Pair, HeadersOfEverySizeUpToTheCapArrive) {
  std::vector<std::byte> header = make_bytes(4096, 1);
  std::vector<std::byte> data = make_bytes(100'000, 2);
  for (std::size_t size : {1U, 24U, 64U, 1024U, 4096U}) {
    for (link::Protocol protocol : {link::Protocol::kEager, link::Protocol::kRendezvous}) {
      link::Message message{.id = kCopied,
                            .header = std::span(header).first(size),
                            .data = data,
                            .protocol = protocol};
      EXPECT_EQ(exchange(client, *to_server, server, *to_client, message), data) << size;
    }
  }
}

// Without the flush UCX 1.13 loses or aborts on some of these over shared memory.
TEST(Connect, AfterAFlushTheFirstMessageMayBeOfAnyKind) {
  std::vector<std::byte> header = make_bytes(1024, 13);
  std::vector<std::byte> data = make_bytes(100'000, 14);
  for (link::Protocol protocol :
       {link::Protocol::kAuto, link::Protocol::kEager, link::Protocol::kRendezvous}) {
    for (std::size_t size : {0U, 8U, 100U, 100'000U}) {
      Node server;
      Node client;
      SocketAddress address = server.listen();
      Endpoint& to_server = client.connect(address);
      if (size != 8) {  // else flush at once
        ASSERT_TRUE(drive(client, server, [&] { return !server.endpoints.empty(); }));
      }
      client.flush(to_server);
      ASSERT_TRUE(drive(client, server, [&] { return client.flushed.size() == 1; }));
      EXPECT_EQ(client.flushed[0], Errc::kOk);
      link::Message message{.id = kDropped,
                            .header = std::span(header).first(size == 8 ? 88 : 1024),
                            .data = std::span(data).first(size),
                            .protocol = protocol};
      client.send(to_server, message);
      ASSERT_TRUE(drive(client, server, [&] { return !server.messages.empty(); })) << size;
      server.send(*server.endpoints[0], message);  // having heard from the client
      ASSERT_TRUE(drive(client, server, [&] { return !client.messages.empty(); })) << size;
      ASSERT_TRUE(drive(
          client, server, [&] { return client.sent.size() == 1 && server.sent.size() == 1; }));
    }
  }
}

TEST_F(Pair, RegisteredMemoryCarriesTheSameBytes) {
  std::vector<std::byte> data = make_bytes(1 << 20, 3);
  std::vector<std::byte> target(data.size());
  MemoryRegion from = client.context->register_memory(data).value();
  MemoryRegion to = server.context->register_memory(target).value();
  client.send(
      *to_server,
      {.id = kCopied, .data = data, .protocol = link::Protocol::kRendezvous, .region = &from});
  ASSERT_TRUE(drive(client, server, [&] { return !server.messages.empty(); }));
  Node::Message& message = server.messages.front();
  message.data.swap(target);
  server.receive(*to_client, message, &to);
  ASSERT_TRUE(drive(client, server, [&] { return !client.sent.empty(); }));
  EXPECT_EQ(server.received, std::vector{Errc::kOk});
  EXPECT_EQ(message.data, data);
  message.data.swap(target);
}

TEST_F(Pair, HeldMessagesKeepTheirBytesWhileOthersArrive) {
  constexpr std::size_t kCount = 500;
  for (std::size_t i = 0; i < kCount; ++i) {
    std::vector<std::byte> data = make_bytes(1 + (i * 37) % 20'000, i);
    client.sent.clear();
    client.send(*to_server, {.id = kPersistent, .data = data, .protocol = link::Protocol::kEager});
    ASSERT_TRUE(drive(
        client, server, [&] { return !client.sent.empty() && server.messages.size() == i + 1; }));
  }
  for (std::size_t i = 0; i < kCount; ++i) {
    std::vector<std::byte> data = make_bytes(1 + (i * 37) % 20'000, i);
    ASSERT_EQ(server.messages[i].length, data.size());
    EXPECT_EQ(std::memcmp(server.messages[i].descriptor, data.data(), data.size()), 0) << i;
  }
  server.release_all();
}

TEST_F(Pair, ADroppedRendezvousLetsItsSenderGoOn) {
  std::vector<std::byte> data = make_bytes(1 << 20, 4);
  for (std::uint16_t id : {kDropped, kPersistent}) {  // not taken; taken, but never received
    server.messages.clear();
    client.sent.clear();
    client.send(*to_server, {.id = id, .data = data, .protocol = link::Protocol::kRendezvous});
    ASSERT_TRUE(drive(client, server, [&] { return !server.messages.empty(); }));
    server.release_all();
    ASSERT_TRUE(drive(client, server, [&] { return !client.sent.empty(); }));
    EXPECT_EQ(client.sent[0], Errc::kOk);
  }
}

TEST_F(Pair, TheSenderIsTheAcceptedEndpoint) {
  struct Watcher final : link::Handler {
    link::Link* sender = nullptr;
    link::Disposition on_message(const link::Incoming& message) override {
      sender = message.sender;
      return link::Disposition::kDone;
    }
  } watcher;
  server.worker->set_handler(10, watcher, false).value();
  for (link::Protocol protocol : {link::Protocol::kEager, link::Protocol::kRendezvous}) {
    std::vector<std::byte> data = make_bytes(5000, 5);
    watcher.sender = nullptr;
    client.sent.clear();
    client.send(*to_server, {.id = 10, .data = data, .protocol = protocol, .shows_sender = true});
    ASSERT_TRUE(
        drive(client, server, [&] { return !client.sent.empty() && watcher.sender != nullptr; }));
    EXPECT_EQ(watcher.sender, to_client);
  }
  server.worker->remove_handler(watcher);
}

TEST_F(Pair, ARemovedHandlerHearsNothing) {
  server.worker->remove_handler(server);
  client.send(*to_server, {.id = kCopied});
  client.send(*to_server, {.id = kPersistent});
  ASSERT_TRUE(drive(client, server, [&] { return client.sent.size() == 2; }));
  client.close(*to_server, seconds(5));
  ASSERT_TRUE(drive(client, server, [&] { return !server.failures.empty(); }));
  EXPECT_TRUE(server.messages.empty());
}

TEST_F(Pair, AMessageWakesASleepingReactor) {
  struct Stopper final : link::Handler {
    rt::Reactor* reactor = nullptr;
    bool done = false;  // a message arrived after a sleep
    link::Disposition on_message(const link::Incoming&) override {
      done = reactor->stats().sleeps > 0;
      return link::Disposition::kDone;
    }
  } stopper;
  stopper.reactor = server.reactor.get();
  server.worker->set_handler(10, stopper, false).value();
  std::atomic<bool> ended = false;
  std::thread thread([&] {
    EXPECT_TRUE(server.reactor->run_until(stopper.done, Deadline::after(seconds(10))));
    ended = true;
  });
  while (!ended) {
    if (server.reactor->is_sleeping() && client.scope.active() == 0) {  // or is about to
      client.send(*to_server, {.id = 10});
    }
    client.turn();
  }
  thread.join();
  EXPECT_TRUE(stopper.done);
  server.worker->remove_handler(stopper);
}

// --- Messages that leave together ----------------------------------------------------------------

TEST_F(Pair, SmallMessagesThatLeaveTogetherArriveInOrderWithAllOthers) {
  std::vector<std::vector<std::byte>> headers;
  std::vector<std::vector<std::byte>> datas;
  for (std::size_t i = 0; i < 300; ++i) {
    headers.push_back(make_bytes(i, i));
    datas.push_back(make_bytes(i % 3 == 0 ? 0 : 500 - i, i + 1));
  }
  std::deque<link::Operation> sent;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    link::Message message{.id = kCopied, .header = headers[i], .data = datas[i]};
    bool fits = headers[i].size() + datas[i].size() <= Bundle::kMaxMessage;
    EXPECT_TRUE(fits) << i;
    if (i % 20 == 7) {
      to_server->begin_send(sent.emplace_back(), message);
    } else if (i % 20 == 17 && datas[i].empty()) {
      to_server->send_and_forget(kCopied, headers[i]);
    } else {
      EXPECT_TRUE(to_server->send_soon(message)) << i;
    }
  }
  ASSERT_TRUE(drive(client, server, [&] { return server.messages.size() == headers.size(); }));
  for (std::size_t i = 0; i < headers.size(); ++i) {
    EXPECT_EQ(server.messages[i].header, headers[i]) << i;
    EXPECT_EQ(server.messages[i].data, datas[i]) << i;
  }
  EXPECT_EQ(to_server->operations(), 0U);
}

TEST_F(Pair, WhatIsNotSmallOrNotOpenDoesNotLeaveWithOthers) {
  std::vector<std::byte> bytes = make_bytes(Bundle::kMaxMessage, 3);
  auto is_sent = [&](const link::Message& message) { return to_server->send_soon(message); };
  EXPECT_TRUE(is_sent({.id = kCopied, .header = bytes}));
  EXPECT_TRUE(is_sent({.id = kCopied, .data = bytes, .protocol = link::Protocol::kEager}));
  EXPECT_FALSE(is_sent({.id = kCopied, .header = std::span(bytes).first(1), .data = bytes}));
  EXPECT_FALSE(is_sent({.id = kCopied, .data = bytes, .protocol = link::Protocol::kRendezvous}));
  EXPECT_FALSE(is_sent({.id = kCopied, .header = bytes, .shows_sender = true}));
  ASSERT_TRUE(drive(client, server, [&] { return server.messages.size() == 2; }));
  client.close(*to_server, seconds(5));
  EXPECT_FALSE(is_sent({.id = kCopied, .header = bytes}));
  ASSERT_TRUE(drive(client, server, [&] { return !server.failures.empty(); }));
  EXPECT_EQ(server.messages.size(), 2U);
}

TEST_F(Pair, ClosingWithFlushDeliversWhatWasGathered) {
  EXPECT_TRUE(to_server->send_soon({.id = kCopied}));
  EXPECT_TRUE(to_server->send_soon({.id = kDropped}));
  client.close(*to_server, seconds(5));
  ASSERT_TRUE(drive(client, server, [&] { return !server.failures.empty(); }));
  EXPECT_EQ(server.messages.size(), 2U);
}

TEST_F(Pair, ClosingByForceWhileMessagesGatherLeavesNothing) {
  for (bool is_closed_by_peer : {false, true}) {
    EXPECT_TRUE(to_server->send_soon({.id = kCopied}));
    EXPECT_TRUE(to_client->send_soon({.id = kCopied}));
    (is_closed_by_peer ? server : client).close_all();
    ASSERT_TRUE(drive(client, server, [&] {
      return client.worker->endpoint_count() == 0 && server.worker->endpoint_count() == 0;
    }));
    connect();
  }
}

TEST(Bundles, MessagesOfOnePassLeaveAsOne) {
  Node server;
  SocketAddress address = server.listen();
  std::atomic<bool> stop = false;
  std::atomic<bool> send = false;
  std::thread thread([&] {
    while (!stop.load()) {
      if (send.exchange(false)) {
        for (std::uint16_t id = 1; id <= 3; ++id) {
          EXPECT_TRUE(server.endpoints.back()->send_soon({.id = id}));
        }
      }
      server.turn();
    }
  });
  {
    testing::RawPeer peer(address);
    EXPECT_EQ(peer.send(kDropped, {}, make_bytes(20'000, 1), UCP_AM_SEND_FLAG_RNDV), UCS_OK);
    send = true;
    EXPECT_TRUE(peer.wait([&] { return !peer.messages().empty(); }));
    ASSERT_EQ(peer.messages().size(), 1U);
    EXPECT_EQ(peer.messages()[0].id, wire::kBundleAmId);
    EXPECT_EQ(peer.messages()[0].data_bytes, 3 * sizeof(std::uint64_t));
  }
  stop = true;
  thread.join();
}

// What is before the fault is taken, nothing behind it; bundles inside and unknown ids are dropped.
TEST_F(Pair, BundlesWithFaultsAreHarmless) {
  auto bundle_of = [](std::span<const std::byte> messages) {
    return link::Message{
        .id = wire::kBundleAmId, .data = messages, .protocol = link::Protocol::kEager};
  };
  Bundle good;
  std::vector<std::byte> bytes = make_bytes(40, 2);
  ASSERT_TRUE(good.add(kCopied, bytes, bytes));
  Bundle all;
  ASSERT_TRUE(all.add(wire::kBundleAmId, good.bytes(), {}));
  ASSERT_TRUE(all.add(99, bytes, {}));
  ASSERT_TRUE(all.add(60'000, bytes, {}));
  ASSERT_TRUE(all.add(kCopied, bytes, bytes));
  for (std::size_t cut = 0; cut <= good.bytes().size(); ++cut) {
    std::vector<std::byte> sent(all.bytes().begin(), all.bytes().end());
    std::span<const std::byte> part = good.bytes().first(cut);
    sent.insert(sent.end(), part.begin(), part.end());
    std::size_t expected = cut == good.bytes().size() ? 2 : 1;
    server.messages.clear();
    client.sent.clear();
    client.send(*to_server, bundle_of(sent));
    client.send(*to_server, {.id = kDropped});
    ASSERT_TRUE(drive(client, server, [&] {
      return client.sent.size() == 2 && !server.messages.empty() &&
             server.messages.back().id == kDropped;
    }));
    ASSERT_EQ(server.messages.size(), expected + 1) << cut;
    EXPECT_EQ(server.messages.front().header, bytes);
    EXPECT_EQ(server.messages.front().data, bytes);
  }
  client.sent.clear();
  server.messages.clear();
  link::Message late = bundle_of(all.bytes());
  late.protocol = link::Protocol::kRendezvous;
  client.send(*to_server, late);
  ASSERT_TRUE(drive(client, server, [&] { return !client.sent.empty(); }));
  EXPECT_TRUE(server.messages.empty());
}

// A handler may close the endpoint that the rest of a bundle came by.
TEST_F(Pair, TheRestOfABundleHasNoSenderOnceItIsClosed) {
  struct Closer final : link::Handler {
    std::vector<link::Link*> senders;
    link::Disposition on_message(const link::Incoming& message) override {
      senders.push_back(message.sender);
      if (message.sender != nullptr) {
        message.sender->close();
      }
      return link::Disposition::kDone;
    }
  } closer;
  server.worker->set_handler(10, closer, false).value();
  Bundle bundle;
  ASSERT_TRUE(bundle.add(10, {}, {}) && bundle.add(10, {}, {}));
  client.send(*to_server,
              {.id = wire::kBundleAmId,
               .data = bundle.bytes(),
               .protocol = link::Protocol::kEager,
               .shows_sender = true});
  std::erase(server.endpoints, to_client);
  ASSERT_TRUE(drive(client, server, [&] { return closer.senders.size() == 2; }));
  EXPECT_EQ(closer.senders, (std::vector<link::Link*>{to_client, nullptr}));
  server.worker->remove_handler(closer);
}

// --- Closing with work in flight -----------------------------------------------------------------

TEST_F(Pair, ClosingWithFlushDeliversWhatWasSent) {
  constexpr std::size_t kCount = 200;
  std::vector<std::byte> header = make_bytes(Endpoint::kMaxHeader, 6);
  for (std::size_t i = 0; i < kCount; ++i) {
    to_server->send_and_forget(kCopied, header);
  }
  client.close(*to_server, seconds(5));
  ASSERT_TRUE(drive(client, server, [&] { return !server.failures.empty(); }));
  EXPECT_EQ(server.messages.size(), kCount);
  EXPECT_TRUE(drive(client, server, [&] { return client.worker->endpoint_count() == 0; }));
}

TEST_F(Pair, ClosingWithFlushDoesNotWaitForAPeerThatSleeps) {
  std::vector<std::byte> data = make_bytes(8 << 20, 7);
  for (int i = 0; i < 4; ++i) {
    client.send(*to_server, {.id = kCopied, .data = data, .protocol = link::Protocol::kEager});
    client.send(*to_server, {.id = kCopied, .data = data, .protocol = link::Protocol::kRendezvous});
  }
  client.turn();
  client.close(*to_server, milliseconds(50));
  rt::Reactor::Binding binding(*client.reactor);
  EXPECT_TRUE(client.worker->drain(Deadline::after(seconds(10))));  // the server never turns
  while (client.sent.size() < 8) {
    client.turn();
  }
}

TEST_F(Pair, AWorkerThatDidNotDrainForcesWhatIsLeft) {
  std::vector<std::byte> header = make_bytes(Endpoint::kMaxHeader, 6);
  for (int i = 0; i < 20'000; ++i) {  // more than the way holds: the server never turns
    to_server->send_and_forget(kCopied, header);
  }
  client.close(*to_server, seconds(60));
  rt::Reactor::Binding binding(*client.reactor);
  ASSERT_FALSE(client.worker->drain(Deadline::after(milliseconds(50))));
  client.restart();
  EXPECT_EQ(client.worker->endpoint_count(), 0U);
}

TEST_F(Pair, ClosingByForceEndsSendsThatNobodyReceives) {
  std::vector<std::byte> data = make_bytes(1 << 20, 8);
  for (int i = 0; i < 10; ++i) {
    client.send(*to_server,
                {.id = kPersistent, .data = data, .protocol = link::Protocol::kRendezvous});
  }
  ASSERT_TRUE(drive(client, server, [&] { return server.messages.size() == 10; }));
  EXPECT_TRUE(client.sent.empty());
  EXPECT_EQ(to_server->operations(), 10U);
  client.close(*to_server);
  ASSERT_TRUE(drive(client, server, [&] { return client.sent.size() == 10; }));
  for (Errc code : client.sent) {
    EXPECT_NE(code, Errc::kOk);
  }
  data = {};  // UCX does not touch it any more
  ASSERT_TRUE(drive(client, server, [&] { return !server.failures.empty(); }));
  server.release_all();
}

TEST_F(Pair, ReceivingFromAPeerThatClosedFailsAndFreesTheMessage) {
  std::vector<std::byte> data = make_bytes(1 << 20, 9);
  for (int i = 0; i < 4; ++i) {
    client.send(*to_server,
                {.id = kPersistent, .data = data, .protocol = link::Protocol::kRendezvous});
  }
  ASSERT_TRUE(drive(client, server, [&] { return server.messages.size() == 4; }));
  server.close_and_receive(*to_client);
  ASSERT_TRUE(drive(client, server, [&] { return server.received.size() == 4; }));
  for (Errc code : server.received) {
    EXPECT_NE(code, Errc::kOk);
  }
  ASSERT_TRUE(drive(client, server, [&] { return client.sent.size() == 4; }));
}

// Transfers run in both directions when one side closes at a point that differs in every round.
TEST_F(Pair, ClosingDuringTransfersIsCleanAtAnyPoint) {
  std::vector<std::byte> data = make_bytes(2 << 20, 10);
  for (int round = 0; round < 40; ++round) {
    bool server_closes = round % 2 == 1;
    Nanos flush = round % 4 >= 2 ? milliseconds(20) : Nanos::zero();
    for (Node* node : {&client, &server}) {
      node->messages.clear();
      node->sent.clear();
      node->received.clear();
      node->failures.clear();
    }
    std::size_t sends = 0;
    for (link::Protocol protocol :
         {link::Protocol::kEager, link::Protocol::kRendezvous, link::Protocol::kRendezvous}) {
      client.send(*to_server, {.id = kCopied, .data = data, .protocol = protocol});
      server.send(*to_client, {.id = kCopied, .data = data, .protocol = protocol});
      ++sends;
    }
    std::size_t started[2] = {0, 0};
    auto receive_all = [&](Node& node, Endpoint& endpoint, std::size_t& count) {
      for (Node::Message& message : node.messages) {
        if (message.descriptor != nullptr) {
          node.receive(endpoint, message);
          ++count;
        }
      }
    };
    for (int step = 0; step < round * 3; ++step) {
      client.turn();
      server.turn();
      if (client.failures.empty() && server.failures.empty()) {
        receive_all(client, *to_server, started[0]);
        receive_all(server, *to_client, started[1]);
      }
    }
    server_closes ? server.close_all(flush) : client.close_all(flush);
    ASSERT_TRUE(drive(client,
                      server,
                      [&] {
                        return client.worker->endpoint_count() == 0 &&
                               server.worker->endpoint_count() == 0 &&
                               client.sent.size() == sends && server.sent.size() == sends &&
                               client.received.size() == started[0] &&
                               server.received.size() == started[1];
                      }))
        << "round " << round << ": endpoints " << client.worker->endpoint_count() << " "
        << server.worker->endpoint_count() << ", sent " << client.sent.size() << " "
        << server.sent.size() << ", received " << client.received.size() << "/" << started[0] << " "
        << server.received.size() << "/" << started[1];
    client.release_all();
    server.release_all();
    connect();
  }
}

TEST(Endpoints, OpenedAndClosedManyTimesLeaveNothingBehind) {
  Node server;
  Node client;
  SocketAddress address = server.listen();
  std::size_t descriptors = 0;
  for (int round = 0; round < 12; ++round) {
    for (int i = 0; i < 10; ++i) {
      client.flush(client.connect(address));
    }
    ASSERT_TRUE(drive(client, server, [&] { return client.flushed.size() == 10; }));
    client.flushed.clear();
    client.close_all(round % 2 == 0 ? Nanos::zero() : Nanos(seconds(1)));
    ASSERT_TRUE(drive(client, server, [&] {
      return client.worker->endpoint_count() == 0 && server.worker->endpoint_count() == 0;
    }));
    if (round == 1) {
      descriptors = open_descriptors();  // the first rounds open what stays for ever
    }
  }
  EXPECT_EQ(server.peers.size(), 120U);
  // The kernel's side of a closed connection ends asynchronously.
  EXPECT_TRUE(drive(client, server, [&] { return open_descriptors() <= descriptors; }))
      << open_descriptors() << " instead of " << descriptors;
}

// --- Peers that misbehave ------------------------------------------------------------------------

// UCX's table of ids is memory that others used before: `dirty` makes that certain.
TEST(HostilePeer, MessageIdsNobodyRegisteredAreHarmless) {
  for (int round = 0; round < 3; ++round) {
    std::vector<std::vector<std::byte>> dirty(8, std::vector<std::byte>(1 << 21, std::byte{0x5a}));
    dirty.clear();
    Node server;
    SocketAddress address = server.listen();
    std::atomic<bool> stop = false;
    std::thread thread([&] {
      Deadline deadline = Deadline::after(seconds(20));
      while (!deadline.passed() && !(stop.load() && server.worker->endpoint_count() == 0)) {
        server.turn();
      }
    });
    {
      testing::RawPeer peer(address);
      std::vector<std::byte> data = make_bytes(20'000, 11);
      for (unsigned id : {0U, 4U, 99U, 1000U, 5000U, 20000U, 40000U, 65534U, 65535U}) {
        EXPECT_EQ(peer.send(id, std::span(data).first(24)), UCS_OK) << id;
        EXPECT_EQ(peer.send(id, {}, data, UCP_AM_SEND_FLAG_EAGER), UCS_OK) << id;
        EXPECT_EQ(peer.send(id, {}, data, UCP_AM_SEND_FLAG_RNDV), UCS_OK) << id;
        EXPECT_EQ(peer.send(id, {}, {}, UCP_AM_SEND_FLAG_REPLY), UCS_OK) << id;
      }
      // A rendezvous ends when it was received, so all before it arrived too.
      EXPECT_EQ(peer.send(kDropped, {}, data, UCP_AM_SEND_FLAG_RNDV), UCS_OK);
      EXPECT_FALSE(peer.is_broken());
    }
    stop = true;
    thread.join();
    EXPECT_EQ(server.messages.size(), 1U);
  }
}

constexpr const char* kPeerVariable = "BENCHFS_TEST_PEER_PORT";

// The body of the process that the next test kills: connects, sends rendezvous nobody answers.
TEST(PeerProcess, DISABLED_SendsUntilItIsKilled) {
  const char* port = std::getenv(kPeerVariable);
  if (port == nullptr) {
    GTEST_SKIP() << "started by Kill.APeerThatIsKilledIsReported";
  }
  Node client;
  std::vector<std::byte> data = make_bytes(1 << 20, 12);
  Endpoint& endpoint = client.connect(
      make_address("127.0.0.1", static_cast<std::uint16_t>(std::atoi(port))).value());
  client.flush(endpoint);
  while (client.flushed.empty()) {
    client.turn();
  }
  for (int i = 0; i < 4; ++i) {
    client.send(endpoint,
                {.id = kPersistent, .data = data, .protocol = link::Protocol::kRendezvous});
  }
  Deadline deadline = Deadline::after(seconds(60));
  while (client.failures.empty() && !deadline.passed()) {
    client.turn();
  }
}

TEST(Kill, APeerThatIsKilledIsReported) {
  Node server;
  Node unused;
  std::string port = std::string(kPeerVariable) + "=" + std::to_string(server.listen().port());
  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    environment.push_back(*entry);
  }
  environment.push_back(port.data());
  environment.push_back(nullptr);
  std::string program = std::filesystem::read_symlink("/proc/self/exe");
  std::string filter = "--gtest_filter=PeerProcess.*";
  std::string also = "--gtest_also_run_disabled_tests";
  char* arguments[] = {program.data(), filter.data(), also.data(), nullptr};
  pid_t child = 0;
  ASSERT_EQ(posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environment.data()),
            0);
  ASSERT_TRUE(drive(server, unused, [&] { return server.messages.size() == 4; }));
  // Two transfers are under way when it dies, two are not begun.
  server.receive(*server.endpoints[0], server.messages[0]);
  server.receive(*server.endpoints[0], server.messages[1]);
  kill(child, SIGKILL);
  EXPECT_TRUE(drive(server, unused, [&] { return !server.failures.empty(); }));
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(drive(server, unused, [&] { return server.received.size() == 2; }));
  server.release_all();
  EXPECT_TRUE(drive(server, unused, [&] { return server.worker->endpoint_count() == 0; }));
  EXPECT_EQ(server.failures.size(), 1U);
}

}  // namespace
}  // namespace benchfs::net
