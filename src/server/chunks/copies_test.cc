// Copies from chunk to chunk, by a shard with either engine: from itself and from another shard,
// which is scripted.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "net/testing/raw_peer.h"
#include "server/testing/fills_fixture.h"

namespace benchfs::server {
namespace {

using rpc::testing::Client;
using std::chrono::milliseconds;
using testing::kChunk;
using testing::ShardUnderTest;
using wire::Opcode;

constexpr wire::InodeId kFrom = wire::InodeId::make(wire::ShardId{1}, 77);
constexpr wire::InodeId kUnmarked = wire::InodeId::make(wire::ShardId{1}, 79);
constexpr wire::InodeId kTo = wire::InodeId::make(wire::ShardId{1}, 78);

template <typename T>
std::vector<std::byte> bytes_of(const T& value) {
  auto bytes = std::as_bytes(std::span(&value, 1));
  return {bytes.begin(), bytes.end()};
}

class OwnDirectory {
 public:
  OwnDirectory() {
    std::string path = std::filesystem::temp_directory_path() / "benchfs_copies_XXXXXX";
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    path_ = path;
  }
  OwnDirectory(const OwnDirectory&) = delete;
  OwnDirectory& operator=(const OwnDirectory&) = delete;
  ~OwnDirectory() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class CopiesTest : public ::testing::TestWithParam<Engine> {
 protected:
  CopiesTest() { know(0); }

  // The home of both files.
  void know(std::uint64_t truncation) {
    peer().answer<wire::MarkRequest>({.life = 5, .truncation = truncation, .chunk_bytes = kChunk});
  }
  testing::ScriptedShard& peer() { return shard_.peer(1); }

  static std::string pattern(std::size_t bytes) {
    std::string text(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i) {
      text[i] = static_cast<char>('a' + i % 23);
    }
    return text;
  }
  Result<wire::NoReply> write(wire::InodeId inode,
                              std::uint64_t index,
                              std::uint32_t offset,
                              const std::string& text) {
    wire::WriteChunkRequest body;
    body.inode = inode.value;
    body.index = index;
    body.offset = offset;
    body.length = static_cast<std::uint32_t>(text.size());
    return shard_.call(
        body, {}, Deadline::after(std::chrono::seconds(10)), std::as_bytes(std::span(text)));
  }
  std::string read(wire::InodeId inode, std::uint64_t index) {
    wire::ReadChunkRequest body{.inode = inode.value, .index = index, .length = kChunk};
    std::string text(kChunk, '\0');
    rpc::Call call = rpc::make_call(body);
    call.into = std::as_writable_bytes(std::span(text));
    Result<rpc::Reply> reply = shard_.client().call(call);
    EXPECT_TRUE(reply) << reply.error().message();
    text.resize(reply ? reply->data_bytes : 0);
    return text;
  }
  static wire::CopyChunkRequest from_shard(std::uint32_t shard, std::uint32_t length) {
    wire::CopyChunkRequest body;
    body.inode = kTo.value;
    body.length = length;
    body.from_inode = kFrom.value;
    body.from_shard = shard;
    return body;
  }
  Result<wire::CopyChunkReply> copy(const wire::CopyChunkRequest& body,
                                    Nanos patience = std::chrono::seconds(10)) {
    return shard_.call(body, {}, Deadline::after(patience));
  }
  // As in the statistics.
  std::string clients_now() {
    std::string text = shard_.stats();
    std::size_t at = text.find("\"registry\":{\"clients\":");
    return at == std::string::npos ? "?" : text.substr(at, text.find(',', at) - at + 1);
  }
  std::uint64_t chunks(wire::InodeId inode) {
    wire::QueryChunksRequest body{.inode = inode.value, .chunk_bytes = kChunk};
    return shard_.call(body).value_or(wire::QueryChunksReply{}).chunk_count;
  }

  OwnDirectory directory_;
  ShardUnderTest shard_{{.peers = 1, .tweak = [this](ShardConfig& config) {
                           config.engine = GetParam();
                           config.data_dir = directory_.path() + "/data";
                           config.buffer_count = 1;
                           config.memory_bytes = 8 * kChunk;
                         }}};
};

std::string name_of(const ::testing::TestParamInfo<Engine>& engine) {
  return engine.param == Engine::kMemory ? "memory" : "file";
}
INSTANTIATE_TEST_SUITE_P(Engines,
                         CopiesTest,
                         ::testing::Values(Engine::kMemory, Engine::kFile),
                         name_of);

// With one buffer: a copy that held it while it waits for another one would wait for itself.
TEST_P(CopiesTest, WithinTheShard) {
  std::string text = pattern(kChunk);
  ASSERT_TRUE(write(kFrom, 2, 0, text));
  wire::CopyChunkRequest body = from_shard(0, 30'000);
  body.index = 3;
  body.offset = 17;
  body.from_index = 2;
  body.from_offset = 5;
  Result<wire::CopyChunkReply> reply = copy(body);
  ASSERT_TRUE(reply) << reply.error().message();
  EXPECT_EQ(reply->bytes, 30'000U);
  EXPECT_EQ(read(kTo, 3), std::string(17, '\0') + text.substr(5, 30'000));
  EXPECT_EQ(peer().count(Opcode::kReadChunk), 0U);
}

TEST_P(CopiesTest, OnlyWhatIsStored) {
  ASSERT_TRUE(write(kFrom, 0, 0, "abcdef"));
  wire::CopyChunkRequest body = from_shard(0, 100);
  body.from_offset = 2;
  EXPECT_EQ(copy(body).value().bytes, 4U);
  EXPECT_EQ(read(kTo, 0), "cdef");
  body.index = 1;
  body.from_index = 1;
  EXPECT_EQ(copy(body).value().bytes, 0U);
  EXPECT_EQ(chunks(kTo), 1U);
}

TEST_P(CopiesTest, FromAnotherShard) {
  std::string text = pattern(50'000);
  peer().answer_reads(text);
  wire::CopyChunkRequest body = from_shard(1, 50'000);
  body.offset = 100;
  body.from_index = 9;
  body.from_offset = 8;
  Result<wire::CopyChunkReply> reply = copy(body);
  ASSERT_TRUE(reply) << reply.error().message();
  EXPECT_EQ(reply->bytes, 50'000U);
  EXPECT_EQ(read(kTo, 0), std::string(100, '\0') + text);
  auto asked = peer().received<wire::ReadChunkRequest>();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].inode, kFrom.value);
  EXPECT_EQ(asked[0].index, 9U);
  EXPECT_EQ(asked[0].offset, 8U);
  EXPECT_EQ(asked[0].length, 50'000U);
}

// More copies than there are buffers for them.
TEST_P(CopiesTest, AShardThatDoesNotAnswerHoldsUpItsCopiesOnly) {
  ASSERT_TRUE(write(kFrom, 0, 0, pattern(1000)));
  peer().hold(Opcode::kReadChunk);
  wire::CopyChunkRequest body = from_shard(1, 1000);
  std::vector<Client::Pending> pending;
  for (int i = 0; i < 20; ++i) {
    pending.push_back(
        shard_.client().start(rpc::make_call(body), Deadline::after(milliseconds(1500))));
  }
  ASSERT_TRUE(shard_.eventually([&] { return peer().count(Opcode::kReadChunk) > 0; }));
  ASSERT_TRUE(write(kFrom, 1, 0, "others"));
  EXPECT_EQ(read(kFrom, 1), "others");
  for (auto& call : pending) {
    ASSERT_TRUE(shard_.eventually([&] { return call->has_value(); }));
    ASSERT_FALSE((*call)->has_value());
    EXPECT_EQ((*call)->error().code, Errc::kDeadline);
  }
  EXPECT_EQ(chunks(kTo), 0U);
  peer().release(Opcode::kReadChunk);
  peer().answer_reads(pattern(1000));
  EXPECT_EQ(copy(body).value().bytes, 1000U);
}

TEST_P(CopiesTest, TheErrorNamesTheShardThatDidNotAnswer) {
  peer().hold(Opcode::kReadChunk);
  Result<wire::CopyChunkReply> reply = copy(from_shard(1, 1000), milliseconds(500));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Errc::kDeadline);
  EXPECT_TRUE(reply.error().message().contains("node_1")) << reply.error().message();
}

// The client reads and writes then, and learns whether the file reaches so far.
TEST_P(CopiesTest, ASourceThatFailsIsLeftToTheClient) {
  for (const Error& error :
       {Error{Errc::kDataLost, 0, {}}, Error::from_errno(EIO), Error::from_errno(ESTALE)}) {
    peer().answer_error(Opcode::kReadChunk, error);
    Result<wire::CopyChunkReply> reply = copy(from_shard(1, 1000));
    ASSERT_TRUE(reply) << reply.error().message();
    EXPECT_EQ(reply->bytes, 0U);
    EXPECT_EQ(chunks(kTo), 0U);
  }
}

// As of a write: the home knows before anything is stored, and a truncation that overtakes it comes
// before it.
TEST_P(CopiesTest, ATruncationComesBeforeTheCopyThatItOvertakes) {
  ASSERT_TRUE(write(kFrom, 0, 0, "abcdef"));
  peer().hold(Opcode::kMark);
  wire::CopyChunkRequest body = from_shard(0, 6);
  std::size_t marks = peer().count(Opcode::kMark);
  auto pending = shard_.client().start(rpc::make_call(body));
  ASSERT_TRUE(shard_.eventually([&] { return peer().count(Opcode::kMark) > marks; }));
  wire::TruncateChunksRequest cut{.inode = kTo.value, .truncation = 1, .chunk_bytes = kChunk};
  ASSERT_TRUE(shard_.call(cut));
  EXPECT_EQ(read(kTo, 0), "");
  know(1);
  peer().release(Opcode::kMark);
  ASSERT_TRUE(shard_.eventually([&] { return pending->has_value(); }));
  ASSERT_TRUE(pending->value()) << pending->value().error().message();
  EXPECT_EQ((*pending)->value().as<wire::CopyChunkReply>()->bytes, 6U);
  EXPECT_EQ(read(kTo, 0), "abcdef");
}

TEST_P(CopiesTest, AFileThatIsGoneIsStale) {
  ASSERT_TRUE(write(kFrom, 0, 0, "abcdef"));
  peer().answer_error(Opcode::kMark, Error::from_errno(ESTALE));
  Result<wire::CopyChunkReply> reply = copy(from_shard(0, 6));
  ASSERT_FALSE(reply);
  EXPECT_TRUE(reply.error().is_posix(ESTALE)) << reply.error().message();
}

TEST_P(CopiesTest, BadRangesAreMalformed) {
  auto bad = [&](auto change) {
    wire::CopyChunkRequest body = from_shard(0, 100);
    change(body);
    Result<wire::CopyChunkReply> reply = copy(body);
    return !reply && reply.error().code == Errc::kMalformed;
  };
  EXPECT_TRUE(bad([](auto& body) { body.from_shard = 2; }));
  EXPECT_TRUE(bad([](auto& body) { body.offset = kChunk - 99; }));
  EXPECT_TRUE(bad([](auto& body) { body.from_offset = kChunk - 99; }));
  EXPECT_TRUE(bad([](auto& body) { body.length = 0; }));
  EXPECT_TRUE(bad([](auto& body) { body.from_inode = 0; }));
  EXPECT_TRUE(bad([](auto& body) { body.inode = 0; }));
}

class FullCopiesTest : public CopiesTest {};
INSTANTIATE_TEST_SUITE_P(Engines, FullCopiesTest, ::testing::Values(Engine::kMemory), name_of);

TEST_P(FullCopiesTest, AFullServerSaysSo) {
  std::string text = pattern(kChunk);
  std::uint64_t index = 0;
  Result<wire::NoReply> written;
  do {
    written = write(kFrom, index++, 0, text);
  } while (written && index < 100);
  ASSERT_TRUE(!written && written.error().is_posix(ENOSPC));
  Result<wire::CopyChunkReply> reply = copy(from_shard(0, kChunk));
  ASSERT_FALSE(reply);
  EXPECT_TRUE(reply.error().is_posix(ENOSPC)) << reply.error().message();
  EXPECT_EQ(chunks(kTo), 0U);
}

// A client whose requests the test makes by hand, and which can be gone.
class Sender {
 public:
  Sender(ShardUnderTest& shard, const std::string& id, std::uint64_t client_uid)
      : peer_(shard.address()) {
    wire::RegisterClientRequestHeader registration;
    registration.client_id_len = static_cast<std::uint16_t>(id.size());
    registration.client_uid = client_uid;
    EXPECT_EQ(peer_.send(
                  50, bytes_of(registration), std::as_bytes(std::span(id)), UCP_AM_SEND_FLAG_REPLY),
              UCS_OK);
    EXPECT_TRUE(answers(1));
    wire::RegisterClientResponseHeader response;
    EXPECT_EQ(peer_.messages()[0].header.size(), sizeof response);
    std::memcpy(&response, peer_.messages()[0].header.data(), sizeof response);
    session_ = response.session_id;
    peer_.messages().clear();
  }
  bool send(const wire::CopyChunkRequest& body,
            std::uint32_t slot = 0,
            std::uint64_t sequence = 1) {
    wire::RequestHeader header{
        .request_id = wire::RequestId::make(slot, wire::ShardId{0}, sequence).value,
        .session_id = session_};
    header.deadline_ms = 60'000;
    std::vector<std::byte> message = bytes_of(header);
    std::vector<std::byte> bytes = bytes_of(body);
    message.insert(message.end(), bytes.begin(), bytes.end());
    return peer_.send(static_cast<unsigned>(Opcode::kCopyChunk), message) == UCS_OK;
  }
  bool answers(std::size_t count) {
    return peer_.wait([&] { return peer_.messages().size() >= count; });
  }

 private:
  net::testing::RawPeer peer_;
  std::uint64_t session_ = 0;
};

// The same request comes twice while it runs, and again when it has been answered.
TEST_P(CopiesTest, ARequestThatIsSentAgainIsDoneOnce) {
  peer().answer_reads("first");
  peer().hold(Opcode::kReadChunk);
  Sender sender(shard_, "sender", 7);
  ASSERT_TRUE(sender.send(from_shard(1, 5)));
  ASSERT_TRUE(sender.send(from_shard(1, 5)));
  ASSERT_TRUE(shard_.eventually([&] { return peer().count(Opcode::kReadChunk) > 0; }));
  peer().release(Opcode::kReadChunk);
  ASSERT_TRUE(sender.answers(1));
  EXPECT_EQ(read(kTo, 0), "first");
  ASSERT_TRUE(write(kTo, 0, 0, "newer"));
  ASSERT_TRUE(sender.send(from_shard(1, 5)));
  ASSERT_TRUE(sender.answers(2));
  EXPECT_EQ(read(kTo, 0), "newer");
  EXPECT_EQ(peer().count(Opcode::kReadChunk), 1U);
}

// Whatever the copy waits for: its bytes, or that the home of the target knows of it.
TEST_P(CopiesTest, NothingIsWrittenForACallerThatIsGone) {
  for (Opcode wait : {Opcode::kReadChunk, Opcode::kMark}) {
    SCOPED_TRACE(wire::to_string(wait));
    ASSERT_TRUE(write(kFrom, 0, 0, "first"));
    peer().answer_reads("first");
    std::size_t before = peer().count(wait);
    std::string clients = clients_now();
    auto sender = std::make_unique<Sender>(
        shard_, "sender", static_cast<std::uint64_t>(wait));  // no client twice
    peer().hold(wait);
    wire::CopyChunkRequest body = from_shard(wait == Opcode::kReadChunk ? 1 : 0, 5);
    body.inode = wait == Opcode::kMark ? kUnmarked.value : kTo.value;
    ASSERT_TRUE(sender->send(body));
    ASSERT_TRUE(shard_.eventually([&] { return peer().count(wait) > before; }));
    sender.reset();
    ASSERT_TRUE(shard_.eventually_in_stats(clients));
    peer().release(wait);
    ASSERT_TRUE(shard_.eventually_in_stats("\"in_flight\":1,"));
    EXPECT_EQ(chunks(wire::InodeId{body.inode}), 0U);
  }
}

}  // namespace
}  // namespace benchfs::server
