// Operations by inode against a scripted shard: inodes and directories that are gone, owners of
// what is created, and directories that change while they are read.

#include "client/nodes/nodes.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "client/testing/scripted_shard.h"

namespace benchfs::client {
namespace {

using testing::Answer;
using testing::ClientUnderTest;
using testing::directory_attr;
using testing::done;
using testing::entry;
using testing::fail_with;
using testing::file_attr;
using testing::kDir;
using testing::kFile;
using testing::kOtherDir;
using testing::kOtherFile;
using testing::remote;
using testing::reply;
using testing::ScriptedShard;
using wire::Opcode;

constexpr Caller kCaller{.uid = 1234, .gid = 5678};
constexpr std::uint32_t kCreate = wire::kOpenWrite | wire::kOpenCreate;

template <typename T>
int errno_of(const Result<T>& result) {
  return result ? 0 : result.error().to_errno();
}

class NodesTest : public ::testing::Test {
 protected:
  // The counters below `end` are of this life of the shard, so an inode that is gone was removed.
  void made_until(std::uint64_t end) {
    shard_.script(Opcode::kInodeRange, {reply(wire::InodeRangeReply{.begin = 1, .end = end})});
  }
  void nothing_is_of_this_life() {
    shard_.script(Opcode::kInodeRange, {reply(wire::InodeRangeReply{.begin = 900, .end = 901})});
  }
  ScriptedShard shard_;
};

// --- Known ---------------------------------------------------------------------------------------

TEST_F(NodesTest, AMissingNameIsAskedForOncePerLease) {
  shard_.script(Opcode::kLookup,
                {entry(wire::Attr{}, wire::kEntryLeased | wire::kEntryMissing), fail_with(ENOENT)});
  ClientUnderTest client({&shard_});
  Nodes& nodes = client.fs().nodes();
  nodes.cache().enable(nullptr);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(errno_of(client.run(nodes.lookup(kDir, "f"))), ENOENT);
  }
  EXPECT_EQ(shard_.count("lookup"), 1U);
  shard_.invalidate(kDir, "f");
  EXPECT_TRUE(client.eventually([&] { return shard_.count("acknowledged") == 1; }));
  for (int i = 0; i < 2; ++i) {  // without a lease
    EXPECT_EQ(errno_of(client.run(nodes.lookup(kDir, "f"))), ENOENT);
  }
  EXPECT_EQ(shard_.count("lookup"), 3U);
}

// --- What cannot be ------------------------------------------------------------------------------

wire::InodeId on_no_shard() {
  return wire::InodeId::make(wire::ShardId{40'000}, 5);
}

TEST_F(NodesTest, AnEntryOnAShardThatDoesNotExistIsRefused) {
  for (const Answer& answer : {entry(file_attr(on_no_shard()), wire::kEntryLeased),
                               entry(directory_attr(on_no_shard())),
                               remote(file_attr(on_no_shard()))}) {
    shard_.script(Opcode::kLookup, {answer});
    shard_.script(Opcode::kOpen, {answer});
    shard_.script(Opcode::kMkdir, {answer});
    ClientUnderTest client({&shard_});
    Nodes& nodes = client.fs().nodes();
    nodes.cache().enable(nullptr);
    EXPECT_EQ(errno_of(client.run(nodes.lookup(kDir, "f"))), EPROTO);
    EXPECT_EQ(errno_of(client.run(client.fs().stat("/f"))), EPROTO);
    EXPECT_EQ(errno_of(client.run(client.fs().open("/f", kCreate, 0644))), EPROTO);
    EXPECT_EQ(errno_of(client.run(client.fs().mkdir("/d", 0755))), EPROTO);
  }
}

TEST_F(NodesTest, AttributesThatNoInodeHasAreRefused) {
  wire::Attr unplaced = file_attr(kFile);
  unplaced.layout = {};
  wire::Attr too_wide = file_attr(kFile, 0, 2);
  wire::Attr too_long = file_attr(kFile, wire::kMaxFileBytes + 1);
  wire::Attr lost = directory_attr(kFile);
  lost.parent = on_no_shard().value;
  for (const wire::Attr& attr : {unplaced, too_wide, too_long, lost}) {
    shard_.script(Opcode::kGetAttr, {entry(attr), entry(attr, wire::kEntryRemote)});
    ClientUnderTest client({&shard_});
    Nodes& nodes = client.fs().nodes();
    EXPECT_EQ(errno_of(client.run(nodes.get_attr(kFile))), EPROTO);
    EXPECT_EQ(errno_of(client.run(nodes.get_attr(kFile))), EPROTO);
  }
}

TEST_F(NodesTest, AListingOfAShardThatDoesNotExistIsRefused) {
  auto page = [](wire::InodeId inode, const wire::Attr* attr) -> Answer {
    return [inode, attr](rpc::Request& request) -> rt::Task<void> {
      wire::DirEntryHeader header;
      header.inode = inode.value;
      header.type = S_IFREG;
      header.name_bytes = 1;
      header.flags = attr != nullptr ? wire::kDirEntryAttr : 0;
      std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
      bytes += "f";
      if (attr != nullptr) {
        bytes.append(reinterpret_cast<const char*>(attr), sizeof *attr);
      }
      co_await request.reply(wire::ReaddirReply{.entry_count = 1, .at_end = 1},
                             std::as_bytes(std::span(bytes)));
    };
  };
  const wire::Attr kAttr = file_attr(kFile);
  const wire::Attr kTooWide = file_attr(kFile, 0, 2);
  shard_.script(Opcode::kReaddir,
                {page(kFile, &kAttr),
                 page(on_no_shard(), nullptr),
                 page(kOtherFile, &kAttr),
                 page(kFile, &kTooWide)});
  ClientUnderTest client({&shard_});
  auto list = [&] {
    return errno_of(client.run(client.fs().list(kDir, "", 100, wire::kReaddirAttr)));
  };
  EXPECT_EQ(list(), 0);
  EXPECT_EQ(list(), EPROTO);
  EXPECT_EQ(list(), EPROTO);
  EXPECT_EQ(list(), EPROTO);
}

// --- Gone ----------------------------------------------------------------------------------------

TEST_F(NodesTest, AReplacedNameLeadsToItsNewInode) {
  shard_.script(Opcode::kLookup, {remote(file_attr(kFile)), remote(file_attr(kOtherFile))});
  shard_.script(Opcode::kGetAttr, {fail_with(ENOENT), entry(file_attr(kOtherFile))});
  ClientUnderTest client({&shard_});
  Result<wire::Attr> attr = client.run(client.fs().nodes().lookup(kDir, "f"));
  ASSERT_TRUE(attr) << attr.error().message();
  EXPECT_EQ(attr->id(), kOtherFile);
}

TEST_F(NodesTest, AReplacedNameIsOpenedAtItsNewInode) {
  shard_.script(Opcode::kOpen, {remote(file_attr(kFile)), remote(file_attr(kOtherFile))});
  shard_.script(Opcode::kOpenInode, {fail_with(ESTALE), entry(file_attr(kOtherFile))});
  ClientUnderTest client({&shard_});
  auto opened = client.run(client.fs().nodes().open_entry(kDir, "f", wire::kOpenRead, 0, kCaller));
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ((*opened)->id(), kOtherFile);
}

TEST_F(NodesTest, ALostInodeBehindANameIsEio) {
  shard_.script(Opcode::kLookup, {remote(file_attr(kFile))});
  shard_.script(Opcode::kGetAttr, {fail_with(ENOENT)});
  nothing_is_of_this_life();
  ClientUnderTest client({&shard_});
  EXPECT_EQ(errno_of(client.run(client.fs().nodes().lookup(kDir, "f"))), EIO);
}

// The kernel looks the path up again after ESTALE, so it must not be ENOENT.
TEST_F(NodesTest, ARemovedInodeIsEstaleAndALostOneEio) {
  for (int answer : {ENOENT, ESTALE}) {
    shard_.script(Opcode::kGetAttr, {fail_with(answer)});
    shard_.script(Opcode::kSetAttr, {fail_with(answer)});
    shard_.script(Opcode::kOpenInode, {fail_with(answer)});
    ClientUnderTest client({&shard_});
    Nodes& nodes = client.fs().nodes();
    for (int expected : {ESTALE, EIO}) {
      expected == ESTALE ? made_until(100) : nothing_is_of_this_life();
      EXPECT_EQ(errno_of(client.run(nodes.get_attr(kFile))), expected);
      EXPECT_EQ(errno_of(client.run(nodes.set_attr(kFile, {}))), expected);
      EXPECT_EQ(errno_of(client.run(nodes.readlink(kFile))), expected);
      EXPECT_EQ(errno_of(client.run(nodes.open(kFile, wire::kOpenRead))), expected);
    }
  }
}

TEST_F(NodesTest, ARemovedDirectoryIsEstaleAndALostOneEio) {
  for (Opcode opcode : {Opcode::kLookup,
                        Opcode::kOpen,
                        Opcode::kMkdir,
                        Opcode::kSymlink,
                        Opcode::kUnlink,
                        Opcode::kRmdir,
                        Opcode::kRename}) {
    shard_.script(opcode, {fail_with(ESTALE)});
  }
  shard_.script(Opcode::kGetAttr, {entry(directory_attr(kDir))});
  ClientUnderTest client({&shard_});
  Nodes& nodes = client.fs().nodes();
  for (int expected : {ESTALE, EIO}) {
    expected == ESTALE ? made_until(100) : nothing_is_of_this_life();
    EXPECT_EQ(errno_of(client.run(nodes.lookup(kDir, "f"))), expected);
    EXPECT_EQ(errno_of(client.run(nodes.open_entry(kDir, "f", kCreate, 0644, kCaller))), expected);
    EXPECT_EQ(errno_of(client.run(nodes.mkdir(kDir, "f", 0755, kCaller))), expected);
    EXPECT_EQ(errno_of(client.run(nodes.symlink(kDir, "f", "t", kCaller))), expected);
    EXPECT_EQ(errno_of(client.run(nodes.unlink(kDir, "f"))), expected);
    EXPECT_EQ(errno_of(client.run(nodes.rmdir(kDir, "f"))), expected);
    EXPECT_EQ(errno_of(client.run(nodes.rename(kDir, "f", kOtherDir, "g", 0))), expected);
  }
}

TEST_F(NodesTest, AMissingNameStaysEnoent) {
  shard_.script(Opcode::kLookup, {fail_with(ENOENT)});
  shard_.script(Opcode::kUnlink, {fail_with(ENOENT)});
  ClientUnderTest client({&shard_});
  EXPECT_EQ(errno_of(client.run(client.fs().nodes().lookup(kDir, "f"))), ENOENT);
  EXPECT_EQ(errno_of(client.run(client.fs().nodes().unlink(kDir, "f"))), ENOENT);
  EXPECT_EQ(shard_.count("inode-range"), 0U);
}

TEST_F(NodesTest, ASymlinkThatTookTheNameOfAFileIsEstale) {
  wire::Attr link = file_attr(kFile);
  link.mode = S_IFLNK | 0777;
  shard_.script(Opcode::kOpen, {entry(link)});
  shard_.script(Opcode::kOpenInode, {entry(link)});
  ClientUnderTest client({&shard_});
  Nodes& nodes = client.fs().nodes();
  EXPECT_EQ(errno_of(client.run(nodes.open_entry(kDir, "f", wire::kOpenRead, 0, kCaller))), ESTALE);
  EXPECT_EQ(errno_of(client.run(nodes.open(kFile, wire::kOpenRead))), ELOOP);
}

TEST_F(NodesTest, NamesAndTargetsAreBounded) {
  ClientUnderTest client({&shard_});
  Nodes& nodes = client.fs().nodes();
  std::string longest(wire::kMaxNameBytes + 1, 'n');
  EXPECT_EQ(errno_of(client.run(nodes.lookup(kDir, longest))), ENAMETOOLONG);
  EXPECT_EQ(errno_of(client.run(nodes.mkdir(kDir, longest, 0755, kCaller))), ENAMETOOLONG);
  EXPECT_EQ(errno_of(client.run(nodes.unlink(kDir, longest))), ENAMETOOLONG);
  EXPECT_EQ(errno_of(client.run(nodes.rmdir(kDir, longest))), ENAMETOOLONG);
  EXPECT_EQ(errno_of(client.run(nodes.rename(kDir, "f", kDir, longest, 0))), ENAMETOOLONG);
  EXPECT_EQ(errno_of(client.run(nodes.open_entry(kDir, longest, kCreate, 0644, kCaller))),
            ENAMETOOLONG);
  std::string target(wire::kMaxPathBytes + 1, 't');
  EXPECT_EQ(errno_of(client.run(nodes.symlink(kDir, "l", target, kCaller))), ENAMETOOLONG);
  EXPECT_EQ(errno_of(client.run(nodes.symlink(kDir, "l", "", kCaller))), ENOENT);
}

// --- Owners --------------------------------------------------------------------------------------

class OwnersTest : public NodesTest {
 protected:
  void make_one_of_each(std::uint32_t mode) {
    shard_.script(Opcode::kGetAttr, {entry(directory_attr(kDir, mode, 42))});
    shard_.script(Opcode::kMkdir, {entry(directory_attr(kOtherDir))});
    shard_.script(Opcode::kOpen, {entry(file_attr(kFile))});
    shard_.script(Opcode::kSymlink, {entry(file_attr(kFile))});
    ClientUnderTest client({&shard_});
    Nodes& nodes = client.fs().nodes();
    ASSERT_TRUE(client.run(nodes.mkdir(kDir, "d", 0750, kCaller)));
    ASSERT_TRUE(client.run(nodes.open_entry(kDir, "f", kCreate, 0640, kCaller)));
    ASSERT_TRUE(client.run(nodes.symlink(kDir, "l", "target", kCaller)));
    EXPECT_EQ(shard_.count("getattr"), 1U);
    directory_ = shard_.requests<wire::MkdirRequest>().at(0);
    file_ = shard_.requests<wire::OpenRequest>().at(0);
    link_ = shard_.requests<wire::SymlinkRequest>().at(0);
  }
  wire::MkdirRequest directory_;
  wire::OpenRequest file_;
  wire::SymlinkRequest link_;
};

TEST_F(OwnersTest, TheCallerOwnsWhatItCreates) {
  make_one_of_each(0755);
  EXPECT_EQ(directory_.uid, kCaller.uid);
  EXPECT_EQ(directory_.gid, kCaller.gid);
  EXPECT_EQ(directory_.mode, 0750U);
  EXPECT_EQ(file_.uid, kCaller.uid);
  EXPECT_EQ(file_.gid, kCaller.gid);
  EXPECT_EQ(link_.uid, kCaller.uid);
  EXPECT_EQ(link_.gid, kCaller.gid);
}

TEST_F(OwnersTest, ASetGidDirectoryHandsOnItsGroup) {
  make_one_of_each(02755);
  EXPECT_EQ(directory_.gid, 42U);
  EXPECT_EQ(directory_.mode, 02750U);
  EXPECT_EQ(file_.gid, 42U);
  EXPECT_EQ(file_.mode, 0640U);
  EXPECT_EQ(link_.gid, 42U);
}

TEST_F(NodesTest, AWriteWithoutPrivilegesClearsTheSetIdBits) {
  struct Case {
    std::uint32_t before;
    std::uint32_t after;  // 0: nothing is changed
  };
  for (Case one :
       {Case{04755, 0755}, Case{02755, 0755}, Case{06711, 0711}, Case{02745, 0}, Case{0755, 0}}) {
    ScriptedShard shard;
    wire::Attr attr = file_attr(kFile);
    attr.mode = S_IFREG | one.before;
    for (Opcode opcode : {Opcode::kOpenInode, Opcode::kGetAttr, Opcode::kSetAttr}) {
      shard.script(opcode, {entry(attr)});
    }
    ClientUnderTest client({&shard});
    auto file = client.run(client.fs().nodes().open(kFile, wire::kOpenWrite));
    ASSERT_TRUE(file);
    ASSERT_TRUE(client.run(client.fs().open_files().clear_set_id(**file)));
    std::vector<wire::SetAttrRequest> changes = shard.requests<wire::SetAttrRequest>();
    ASSERT_EQ(changes.size(), one.after != 0 ? 1U : 0U) << one.before;
    if (!changes.empty()) {
      EXPECT_EQ(changes[0].mode, one.after);
    }
  }
}

// --- Reading a directory -------------------------------------------------------------------------

class DirectoryReaderTest : public NodesTest {
 protected:
  DirectoryReaderTest() {
    shard_.script(Opcode::kReaddir, {[this](rpc::Request& request) -> rt::Task<void> {
                    wire::ReaddirRequest body;
                    wire::Reader reader = request.reader();
                    reader.read(body);
                    std::string cursor(reader.read_text(body.cursor_bytes));
                    std::vector<std::byte> page;
                    wire::ReaddirReply header{.entry_count = 0, .at_end = 1};
                    const std::set<std::string> names = names_.copy();
                    for (auto it = names.upper_bound(cursor); it != names.end(); ++it) {
                      if (header.entry_count == kPage) {
                        header.at_end = 0;
                        break;
                      }
                      wire::DirEntryHeader one{
                          .inode = kFile.value,
                          .type = S_IFREG,
                          .name_bytes = static_cast<std::uint16_t>(it->size())};
                      std::span<const std::byte> fixed = std::as_bytes(std::span(&one, 1));
                      page.insert(page.end(), fixed.begin(), fixed.end());
                      std::span<const std::byte> text = std::as_bytes(std::span(*it));
                      page.insert(page.end(), text.begin(), text.end());
                      ++header.entry_count;
                    }
                    co_await request.reply(header, page);
                  }});
  }
  // Reads up to `count` entries from `position` on; moves it.
  std::vector<std::string> read(ClientUnderTest& client,
                                DirectoryReader& reader,
                                std::uint64_t& position,
                                std::size_t count) {
    std::vector<std::string> seen;
    while (seen.size() < count) {
      auto entries = client.run(reader.read(position));
      if (!entries || entries->empty()) {
        break;
      }
      for (const auto& [entry, next] : *entries) {
        if (seen.size() == count) {
          break;
        }
        seen.push_back(entry.name);
        position = next;
      }
    }
    return seen;
  }
  static constexpr std::uint32_t kPage = 4;

  // What the directory holds: set by the test, read by the shard's thread.
  class SharedNames {
   public:
    void assign(std::set<std::string> names) {
      std::lock_guard lock(mutex_);
      names_ = std::move(names);
    }
    std::set<std::string> copy() const {
      std::lock_guard lock(mutex_);
      return names_;
    }

   private:
    mutable std::mutex mutex_;
    std::set<std::string> names_;
  };
  SharedNames names_;
};

using Names = std::vector<std::string>;

TEST_F(DirectoryReaderTest, APositionStaysValidWhileTheDirectoryChanges) {
  names_.assign({"b", "d", "f", "h", "j", "l"});
  ClientUnderTest client({&shard_});
  auto reader = client.fs().open_directory(kDir);
  std::uint64_t position = 0;
  EXPECT_EQ(read(client, *reader, position, 4), (Names{"b", "d", "f", "h"}));
  // Before the position, the last name that was read, and after it.
  names_.assign({"a", "c", "d", "f", "i", "j"});
  EXPECT_EQ(read(client, *reader, position, 10), (Names{"i", "j"}));
  EXPECT_EQ(read(client, *reader, position, 10), Names{});
}

TEST_F(DirectoryReaderTest, EveryPositionCanBeReadFromAgain) {
  names_.assign({"b", "d", "f", "h", "j", "l"});
  ClientUnderTest client({&shard_});
  auto reader = client.fs().open_directory(kDir);
  std::uint64_t position = 0;
  std::map<std::string, std::uint64_t> after;
  while (true) {
    Names one = read(client, *reader, position, 1);
    if (one.empty()) {
      break;
    }
    after[one[0]] = position;
  }
  ASSERT_EQ(after.size(), 6U);
  names_.assign({"b", "d", "e", "f", "h", "j", "l"});
  position = after["d"];
  // The earlier positions still lead on after their names.
  EXPECT_EQ(read(client, *reader, position, 10), (Names{"e", "f", "h", "j", "l"}));
  position = after["h"];
  EXPECT_EQ(read(client, *reader, position, 10), (Names{"j", "l"}));
  position = after["l"];
  EXPECT_EQ(read(client, *reader, position, 10), Names{});
}

TEST_F(DirectoryReaderTest, FromTheStartItIsReadAnew) {
  names_.assign({"b", "d"});
  ClientUnderTest client({&shard_});
  auto reader = client.fs().open_directory(kDir);
  std::uint64_t position = 0;
  EXPECT_EQ(read(client, *reader, position, 10), (Names{"b", "d"}));
  names_.assign({"a"});
  position = 0;
  EXPECT_EQ(read(client, *reader, position, 10), Names{"a"});
}

TEST_F(DirectoryReaderTest, APositionThatWasNotHandedOutIsRefused) {
  names_.assign({"b"});
  ClientUnderTest client({&shard_});
  auto reader = client.fs().open_directory(kDir);
  EXPECT_EQ(errno_of(client.run(reader->read(1))), EINVAL);
  ASSERT_TRUE(client.run(reader->read(0)));
  EXPECT_TRUE(client.run(reader->read(1)));
  EXPECT_EQ(errno_of(client.run(reader->read(2))), EINVAL);
}

TEST_F(DirectoryReaderTest, ARemovedDirectoryIsEmptyAndALostOneEio) {
  shard_.script(Opcode::kReaddir, {fail_with(ESTALE)});
  made_until(100);
  ClientUnderTest client({&shard_});
  auto reader = client.fs().open_directory(kDir);
  auto entries = client.run(reader->read(0));
  ASSERT_TRUE(entries) << entries.error().message();
  EXPECT_TRUE(entries->empty());
  nothing_is_of_this_life();
  EXPECT_EQ(errno_of(client.run(reader->read(0))), EIO);
}

TEST_F(DirectoryReaderTest, ReadsThatOverlapTakeTurns) {
  names_.assign({"b", "d"});
  ClientUnderTest client({&shard_});
  auto reader = client.fs().open_directory(kDir);
  auto first = client.start(reader->read(0));
  auto second = client.start(reader->read(0));
  ASSERT_TRUE(client.eventually([&] { return first->has_value() && second->has_value(); }));
  ASSERT_TRUE(**first);
  ASSERT_TRUE(**second);
  EXPECT_EQ((**second)->size(), 2U);
  EXPECT_EQ(shard_.count("readdir"), 2U);
}

}  // namespace
}  // namespace benchfs::client
