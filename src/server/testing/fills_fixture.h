// A shard with the memory engine and a program of its node that writes into its slots.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "link/link.h"
#include "server/testing/files_fixture.h"
#include "wire/messages.h"

namespace benchfs::server::testing {

using rpc::testing::Client;

inline constexpr std::uint32_t kChunk = 64U << 10;

// Where the doors of this test are, before the shard opens one.
class OwnDoors {
 public:
  OwnDoors() {
    std::string path = std::filesystem::temp_directory_path() / "benchfs_doors_XXXXXX";
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    path_ = path;
    ::setenv("BENCHFS_DOOR_DIR", path_.c_str(), 1);
  }
  OwnDoors(const OwnDoors&) = delete;
  OwnDoors& operator=(const OwnDoors&) = delete;
  ~OwnDoors() {
    ::unsetenv("BENCHFS_DOOR_DIR");
    std::filesystem::remove_all(path_);
  }

 private:
  std::string path_;
};

class FillsTest : private OwnDoors, public FilesTest {
 protected:
  void SetUp() override {
    program_ = new_program("program");
    file_ = create(name_, 1);
  }
  std::unique_ptr<Client> new_program(const std::string& id) {
    rpc::ConnectionPool::Config config;
    config.transport = rpc::Transport::kNode;
    config.wants_slots = true;
    auto program =
        std::make_unique<Client>(id, std::vector<net::SocketAddress>{shard_.address()}, config);
    EXPECT_TRUE(program->ping());
    return program;
  }
  template <typename Request>
  static Result<typename Request::Reply> ask(Client& client, const Request& request) {
    rpc::Call call = rpc::make_call(request);
    BENCHFS_TRY(rpc::Reply reply, client.call(call));
    return reply.template as<typename Request::Reply>();
  }
  static link::SharedSlots& slots(Client& client) {
    return *client.connection().link()->shared_slots();
  }

  [[nodiscard]] wire::BeginFillRequest room(std::uint32_t offset,
                                            std::uint32_t length,
                                            std::uint64_t number,
                                            std::uint32_t place = 0) const {
    wire::BeginFillRequest request;
    request.inode = file_.inode;
    request.offset = offset;
    request.length = length;
    request.number = number;
    request.place = place;
    return request;
  }
  Result<wire::BeginFillReply> begin(const wire::BeginFillRequest& request) {
    return ask(*program_, request);
  }
  // Begins and fills.
  wire::BeginFillReply fill(const wire::BeginFillRequest& request, char value) {
    Result<wire::BeginFillReply> place = begin(request);
    EXPECT_TRUE(place) << place.error().message();
    std::vector<std::byte> bytes(request.length, static_cast<std::byte>(value));
    EXPECT_TRUE(slots(*program_).fill(place->slot, request.offset, place->existing_end, bytes));
    return *place;
  }
  Result<bool> end(std::uint64_t number, std::uint32_t place = 0, std::uint32_t flags = 0) {
    wire::EndFillRequest request;
    request.number = number;
    request.place = place;
    request.flags = flags;
    BENCHFS_TRY(wire::EndFillReply reply, ask(*program_, request));
    return reply.is_stored != 0;
  }
  // As a client of another node sees it: runs of equal bytes.
  std::string content() {
    wire::ReadChunkRequest request;
    request.inode = file_.inode;
    request.length = kChunk;
    std::vector<char> bytes(kChunk);
    rpc::Call call = rpc::make_call(request);
    call.into = std::as_writable_bytes(std::span(bytes));
    Result<rpc::Reply> reply = shard_.client().call(call);
    EXPECT_TRUE(reply) << reply.error().message();
    std::string runs;
    for (std::size_t i = 0; i < reply->data_bytes;) {
      std::size_t begin = i;
      while (i < reply->data_bytes && bytes[i] == bytes[begin]) {
        ++i;
      }
      runs += (bytes[begin] == 0 ? '0' : bytes[begin]) + ("*" + std::to_string(i - begin) + " ");
    }
    return runs;
  }
  std::string name_ = shard_.local_name("f");
  std::unique_ptr<Client> program_;
  wire::Attr file_;
};

}  // namespace benchfs::server::testing
