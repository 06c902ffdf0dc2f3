// Writes whose bytes a program of the node brings by itself: room, the end, and what ends without
// one.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "link/link.h"
#include "server/testing/files_fixture.h"
#include "wire/messages.h"

namespace benchfs::server {
namespace {

using rpc::testing::Client;
using testing::FilesTest;
using wire::Opcode;

constexpr std::uint32_t kChunk = 64U << 10;

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

TEST_F(FillsTest, TheBytesAreThereWhenTheEndWasAnswered) {
  fill(room(0, 1000, 1), 'a');
  EXPECT_EQ(content(), "");
  EXPECT_TRUE(end(1).value());
  EXPECT_EQ(content(), "a*1000 ");
  EXPECT_FALSE(end(1).value()) << "it has ended";
}

TEST_F(FillsTest, WhatWasGivenUpStoresNothing) {
  fill(room(0, 1000, 1), 'a');
  EXPECT_FALSE(end(1, 0, wire::kFillGivenUp).value());
  EXPECT_EQ(content(), "");
  fill(room(2000, 1000, 2), 'b');
  EXPECT_TRUE(end(2).value());
  EXPECT_EQ(content(), "0*2000 b*1000 ");
}

TEST_F(FillsTest, OfOnePlaceTheHigherNumberCounts) {
  fill(room(0, 1000, 5), 'a');
  Result<wire::BeginFillReply> late = begin(room(0, 1000, 4));
  ASSERT_TRUE(late);
  EXPECT_EQ(late->slot, wire::kNoSlot) << "given up before";
  EXPECT_FALSE(end(4).value());
  fill(room(2000, 1000, 6), 'b');
  EXPECT_FALSE(end(5).value()) << "its place was used again";
  EXPECT_TRUE(end(6).value());
  EXPECT_EQ(content(), "0*2000 b*1000 ");
}

TEST_F(FillsTest, PlacesStandBesideEachOther) {
  fill(room(0, 1000, 1, 0), 'a');
  fill(room(1000, 1000, 2, wire::kMaxLoans - 1), 'b');
  EXPECT_TRUE(end(2, wire::kMaxLoans - 1).value());
  EXPECT_TRUE(end(1, 0).value());
  EXPECT_EQ(content(), "a*1000 b*1000 ");
  Result<wire::BeginFillReply> beyond = begin(room(0, 10, 3, wire::kMaxLoans));
  ASSERT_TRUE(beyond);
  EXPECT_EQ(beyond->slot, wire::kNoSlot);
  EXPECT_FALSE(end(3, wire::kMaxLoans).value());
}

TEST_F(FillsTest, ACutThatOvertookItWantsTheBytesAgain) {
  fill(room(0, 5000, 1), 'x');
  ASSERT_TRUE(end(1).value());
  fill(room(0, 1000, 2), 'a');
  ASSERT_TRUE(truncate(file_, 0).has_value());
  EXPECT_FALSE(end(2).value());
  EXPECT_EQ(content(), "");
}

TEST_F(FillsTest, AFileThatIsGoneTakesNothing) {
  fill(room(0, 1000, 1), 'a');
  ASSERT_TRUE(unlink(name_).has_value());
  ASSERT_TRUE(close(1));
  ASSERT_TRUE(shard_.eventually_in_stats("\"orphans\":0"));
  Result<bool> ended = end(1);
  ASSERT_FALSE(ended);
  EXPECT_TRUE(ended.error().is_posix(ESTALE)) << ended.error().message();
}

TEST_F(FillsTest, ARangeOutsideOfAChunkIsRefused) {
  for (const wire::BeginFillRequest& bad :
       {room(kChunk, 1, 1), room(0, 0, 2), room(1, kChunk, 3)}) {
    EXPECT_FALSE(begin(bad)) << bad.number;
  }
}

TEST_F(FillsTest, AClientOfAnotherNodeHasNoPlaces) {
  Result<wire::BeginFillReply> place = ask(shard_.client(), room(0, 1000, 1));
  ASSERT_TRUE(place) << place.error().message();
  EXPECT_EQ(place->slot, wire::kNoSlot);
  wire::LocateChunkRequest locate;
  locate.inode = file_.inode;
  fill(room(0, 1000, 1), 'a');
  ASSERT_TRUE(end(1).value());
  EXPECT_EQ(ask(shard_.client(), locate)->slot, wire::kNoSlot);
  EXPECT_NE(ask(*program_, locate)->slot, wire::kNoSlot);
}

TEST_F(FillsTest, AChunkIsLocatedUntilItIsCut) {
  fill(room(0, 1000, 1), 'a');
  wire::LocateChunkRequest locate;
  locate.inode = file_.inode;
  EXPECT_EQ(ask(*program_, locate)->slot, wire::kNoSlot) << "nothing is stored yet";
  ASSERT_TRUE(end(1).value());
  wire::LocateChunkReply before = ask(*program_, locate).value();
  std::vector<std::byte> bytes(1000);
  EXPECT_EQ(slots(*program_).read(before.slot, before.generation, 0, bytes), link::SlotCopy::kDone);
  ASSERT_TRUE(truncate(file_, 10).has_value());
  EXPECT_EQ(slots(*program_).read(before.slot, before.generation, 0, std::span(bytes).first(10)),
            link::SlotCopy::kMoved);
  wire::LocateChunkReply after = ask(*program_, locate).value();
  EXPECT_EQ(slots(*program_).read(after.slot, after.generation, 0, std::span(bytes).first(10)),
            link::SlotCopy::kDone);
}

TEST_F(FillsTest, TheEndOfAProgramEndsWhatItFills) {
  auto used = [&] {
    std::string now = shard_.stats();
    return now.substr(now.find("\"free_bytes\""), 30);
  };
  std::string unused = used();
  fill(room(0, kChunk, 1), 'a');
  EXPECT_NE(used(), unused);
  program_.reset();
  EXPECT_TRUE(shard_.eventually([&] { return used() == unused; }));
  EXPECT_EQ(content(), "");
}

}  // namespace
}  // namespace benchfs::server
