// Two hosts on one machine, for tests of what networks do: a server's and a client's network
// namespace, joined by a wire. They need root; nothing of them is left when the last process and
// descriptor inside is gone, however the test ends.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "base/clock.h"

namespace benchfs::test {

// A network of its own, with the /sys that belongs to it: UCX looks for its devices there.
class Namespace {
 public:
  Namespace();
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;
  ~Namespace();
  [[nodiscard]] bool is_valid() const { return network_fd_ >= 0 && mounts_fd_ >= 0; }

  // The calling thread is inside while this lives, as are the threads and processes it starts.
  class Visit {
   public:
    explicit Visit(const Namespace& where);
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    ~Visit();

   private:
    int network_fd_;  // where it came from
    int mounts_fd_;
  };
  [[nodiscard]] int network_fd() const { return network_fd_; }

 private:
  int network_fd_ = -1;
  int mounts_fd_ = -1;
};

class TestNetwork {
 public:
  static constexpr const char* kDevice = "wire0";
  static constexpr const char* kServerIp = "10.99.0.1";
  static constexpr const char* kOtherServerIp = "10.99.0.3";
  static constexpr const char* kClientIp = "10.99.0.2";

  // Packets take `delay` each way. `directory` takes the output of the programs it runs. When this
  // user or kernel may not do it: nullptr, and `why_not` says so.
  static std::unique_ptr<TestNetwork> create(const std::string& directory,
                                             Nanos delay,
                                             std::string& why_not);
  TestNetwork(const TestNetwork&) = delete;
  TestNetwork& operator=(const TestNetwork&) = delete;
  ~TestNetwork();

  [[nodiscard]] const Namespace& server() const { return server_; }
  [[nodiscard]] const Namespace& client() const { return client_; }

  // Applies an nftables rule to the packets that reach one side, or both. Until heal(). False: it
  // did not work.
  [[nodiscard]] bool filter_server(const std::string& rule) { return filter(server_, rule); }
  [[nodiscard]] bool filter_client(const std::string& rule) { return filter(client_, rule); }
  [[nodiscard]] bool cut() { return filter_server("drop") && filter_client("drop"); }
  [[nodiscard]] bool heal();
  // The server's host has kOtherServerIp instead of kServerIp from now on.
  [[nodiscard]] bool change_server_ip();

 private:
  explicit TestNetwork(std::string directory) : directory_(std::move(directory)) {}
  bool join(Nanos delay, std::string& why_not);
  bool make_tunnels();
  bool filter(const Namespace& side, const std::string& rule);
  bool run_in(const Namespace& side, const std::string& command);
  void carry(Nanos delay);

  std::string directory_;
  std::string problem_;  // what the last command that failed said
  Namespace server_;
  Namespace client_;
  // A wire with delay: this process carries the packets between two tunnel devices.
  int tunnels_[2] = {-1, -1};
  int stop_fd_ = -1;
  std::thread carrier_;
};

}  // namespace benchfs::test
