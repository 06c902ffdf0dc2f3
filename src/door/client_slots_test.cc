// A program's own copies from and to the slots of a shard.
#include "door/client_slots.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "door/testing/door_fixture.h"

namespace benchfs::door {
namespace {

using link::SlotCopy;
using testing::DoorFixture;
using testing::soon;

constexpr std::uint32_t kSlotBytes = 4U << 20;
constexpr std::uint32_t kSlots = 20 * (ClientSlots::kWindowBytes / kSlotBytes);

class ClientSlotsTest : public DoorFixture {
 public:
  void SetUp() override {
    DoorFixture::SetUp();
    data_ = Fd(memfd_create("slots", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    states_fd_ = Fd(memfd_create("states", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(ftruncate(data_.get(), off_t{kSlots} * kSlotBytes), 0);
    ASSERT_EQ(ftruncate(states_fd_.get(), wire::kSlotStatesBytes), 0);
    ASSERT_EQ(fcntl(states_fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
    auto mapped =
        Mapping::map(states_fd_.get(), wire::kSlotStatesBytes, Mapping::Access::kReadWrite);
    ASSERT_TRUE(mapped);
    states_ = *std::move(mapped);
    shared_ = this;
  }
  void TearDown() override {
    session_.reset();
    DoorFixture::TearDown();
  }

  ClientSlots& attach() {
    open({.slots = data_.get(), .slot_states = states_fd_.get(), .slot_bytes = kSlotBytes});
    session_ = attach_with(true);
    return *session_->slots();
  }
  std::unique_ptr<ClientSession> attach_with(bool wants_slots) {
    AttachOptions wanted = options();
    wanted.wants_slots = wants_slots;
    auto begun = Attachment::begin(DoorDirectory::open(kRun, base).value(), wanted);
    EXPECT_TRUE(begun) << begun.error().message();
    Result<std::unique_ptr<ClientSession>> session = fail(Errc::kNotReady, "");
    EXPECT_TRUE(serve_until([&] {
      session = begun->finish();
      return session || session.error().code != Errc::kNotReady;
    }));
    EXPECT_TRUE(session) << session.error().message();
    return *std::move(session);
  }
  void publish(std::uint32_t slot, wire::SlotState state) {
    reinterpret_cast<wire::SlotWord*>(states_.data() + slot * wire::kSlotStateBytes)
        ->store(state.word());
  }
  void store(std::uint32_t slot, std::uint32_t offset, std::span<const std::byte> bytes) {
    EXPECT_EQ(pwrite(data_.get(), bytes.data(), bytes.size(), off_t{slot} * kSlotBytes + offset),
              static_cast<ssize_t>(bytes.size()));
  }
  std::vector<std::byte> stored(std::uint32_t slot, std::uint32_t offset, std::size_t size) {
    std::vector<std::byte> bytes(size);
    EXPECT_EQ(pread(data_.get(), bytes.data(), size, off_t{slot} * kSlotBytes + offset),
              static_cast<ssize_t>(size));
    return bytes;
  }
  static std::vector<std::byte> bytes_of(std::size_t size, int salt) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
      bytes[i] = static_cast<std::byte>(i * 7 + i / 251 + static_cast<std::size_t>(salt));
    }
    return bytes;
  }

  static constexpr std::uint64_t kRun = testing::kRun;
  static inline ClientSlotsTest* shared_ = nullptr;  // for hooks
  Fd data_;
  Fd states_fd_;
  Mapping states_;
  std::unique_ptr<ClientSession> session_;
};

TEST_F(ClientSlotsTest, ReadsWhatIsPublishedAndNoMore) {
  ClientSlots& slots = attach();
  std::vector<std::byte> bytes = bytes_of(100'000, 1);
  store(3, 0, bytes);
  publish(3, {.generation = 5, .end = 100'000});
  std::vector<std::byte> got(100'000);
  EXPECT_EQ(slots.read(3, 5, 0, got), SlotCopy::kDone);
  EXPECT_EQ(got, bytes);
  got.resize(1000);
  EXPECT_EQ(slots.read(3, 5, 99'000, got), SlotCopy::kDone);
  EXPECT_TRUE(std::ranges::equal(got, std::span(bytes).subspan(99'000)));
  EXPECT_EQ(slots.read(3, 5, 99'001, got), SlotCopy::kShort);
  EXPECT_EQ(slots.read(3, 4, 0, got), SlotCopy::kMoved);
  EXPECT_EQ(slots.read(4, 0, 0, got), SlotCopy::kShort);
  EXPECT_EQ(slots.read(wire::kMaxPublishedSlots, 5, 0, got), SlotCopy::kMoved);
  EXPECT_EQ(slots.read(3, 5, kSlotBytes - 10, got), SlotCopy::kMoved) << "beyond the slot";
}

TEST_F(ClientSlotsTest, BytesThatBecomeAnothersDuringTheCopyAreNotUsed) {
  ClientSlots& slots = attach();
  std::vector<std::byte> got(1000);
  for (Step at : {Step::kSlotStateRead, Step::kSlotCopied}) {
    publish(3, {.generation = 5, .end = 1000});
    static Step wanted;
    wanted = at;
    step_hook = [](Step step) {
      if (step == wanted) {
        shared_->publish(3, {.generation = 6, .end = 1000});
      }
    };
    EXPECT_EQ(slots.read(3, 5, 0, got), SlotCopy::kMoved);
    step_hook = nullptr;
  }
}

TEST_F(ClientSlotsTest, FillsMemoryThatIsThereAndMemoryThatIsNot) {
  ClientSlots& slots = attach();
  std::vector<std::byte> bytes = bytes_of(300'000, 2);
  store(2, 0, bytes_of(200'000, 9));
  for (std::uint32_t existing : {0U, 100'001U, 150'000U, 1U << 20}) {
    ASSERT_TRUE(slots.fill(2, 100'001, existing, bytes));
    EXPECT_EQ(stored(2, 100'001, bytes.size()), bytes) << existing;
    EXPECT_EQ(stored(2, 0, 100'001), bytes_of(100'001, 9));
    bytes = bytes_of(300'000, static_cast<int>(existing % 100));
  }
  EXPECT_FALSE(slots.fill(2, kSlotBytes - 10, 0, bytes));
}

// What is filled is memory of the file, whatever limits the program's files.
TEST_F(ClientSlotsTest, ALimitOfFileSizesIsAnErrorAndNoSignal) {
  ClientSlots& slots = attach();
  std::vector<std::byte> bytes = bytes_of(1000, 3);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small{.rlim_cur = 4096, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  Status filled = slots.fill(7, 0, 0, bytes);
  bool is_existing_filled = slots.fill(7, 0, 4096, bytes).has_value();
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_FALSE(filled);
  EXPECT_TRUE(is_existing_filled) << "through the mapping";
  EXPECT_EQ(stored(7, 0, 1000), bytes);
}

TEST_F(ClientSlotsTest, ADescriptorThatTheProgramUsesOtherwiseIsLeftAlone) {
  ClientSlots& slots = attach();
  struct stat wanted{};
  ASSERT_EQ(fstat(data_.get(), &wanted), 0);
  int own = -1;
  for (int fd = 3; fd < 256; ++fd) {
    struct stat info{};
    if (fd != data_.get() && fstat(fd, &info) == 0 && info.st_ino == wanted.st_ino &&
        info.st_dev == wanted.st_dev) {
      own = fd;
    }
  }
  ASSERT_GE(own, 0);
  Fd file(memfd_create("the program's own", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), 1 << 20), 0);
  ASSERT_EQ(dup3(file.get(), own, O_CLOEXEC), own);
  EXPECT_FALSE(slots.fill(0, 0, 0, bytes_of(1000, 3)));
  EXPECT_FALSE(slots.fill(1, 0, kSlotBytes, bytes_of(1000, 3)));
  std::vector<std::byte> content(1 << 20);
  EXPECT_EQ(pread(file.get(), content.data(), content.size(), 0), 1 << 20);
  EXPECT_TRUE(std::ranges::all_of(content, [](std::byte b) { return b == std::byte{0}; }));
  session_.reset();
  struct stat info{};
  EXPECT_EQ(fstat(own, &info), 0) << "not ours to close";
  ::close(own);
}

TEST_F(ClientSlotsTest, NoMoreThanSomeWindowsAreMapped) {
  ClientSlots& slots = attach();
  constexpr std::uint32_t kPerWindow = ClientSlots::kWindowBytes / kSlotBytes;
  for (int round = 0; round < 2; ++round) {
    for (std::uint32_t slot = 0; slot < kSlots; slot += kPerWindow) {
      std::vector<std::byte> bytes = bytes_of(5000, static_cast<int>(slot) + round);
      ASSERT_TRUE(slots.fill(slot, 0, kSlotBytes, bytes));
      publish(slot, {.generation = 1, .end = 5000});
      std::vector<std::byte> got(5000);
      ASSERT_EQ(slots.read(slot, 1, 0, got), SlotCopy::kDone);
      EXPECT_EQ(got, bytes);
    }
    EXPECT_EQ(slots.windows(), ClientSlots::kMostWindows);
  }
}

TEST_F(ClientSlotsTest, WindowsAreGivenBackWhenFewerAreAllowed) {
  ClientSlots& slots = attach();
  constexpr std::uint32_t kPerWindow = ClientSlots::kWindowBytes / kSlotBytes;
  auto look = [&](std::uint32_t window) {
    store(window * kPerWindow, 0, bytes_of(5000, static_cast<int>(window)));
    publish(window * kPerWindow, {.generation = 1, .end = 5000});
    std::vector<std::byte> got(5000);
    ASSERT_EQ(slots.read(window * kPerWindow, 1, 0, got), SlotCopy::kDone);
    ASSERT_EQ(got, bytes_of(5000, static_cast<int>(window)));
  };
  for (std::uint32_t window = 0; window < 6; ++window) {
    look(window);
  }
  slots.limit_windows(2);
  EXPECT_EQ(slots.windows(), 2U);
  for (std::uint32_t window = 0; window < 6; ++window) {
    look(window);
  }
  EXPECT_EQ(slots.windows(), 2U);
}

// As many threads do at once.
TEST_F(ClientSlotsTest, WhatWasFoundStaysMappedUntilItIsCopied) {
  ClientSlots& slots = attach();
  constexpr std::uint32_t kPerWindow = ClientSlots::kWindowBytes / kSlotBytes;
  constexpr std::uint32_t kMost = ClientSlots::kMostWindows;
  for (std::uint32_t i = 0; i <= kMost; ++i) {
    store(i * kPerWindow, 0, bytes_of(5000, static_cast<int>(i)));
    publish(i * kPerWindow, {.generation = 1, .end = 5000});
  }
  auto find = [&](std::uint32_t window, link::SlotRange& found) {
    return slots.find({.slot = window * kPerWindow, .generation = 1}, 0, 5000, found);
  };
  std::array<link::SlotRange, kMost> found;
  for (std::uint32_t i = 0; i < kMost; ++i) {
    ASSERT_EQ(find(i, found[i]), SlotCopy::kDone);
  }
  std::vector<std::byte> got(5000);
  {
    link::SlotRange one_more;
    EXPECT_EQ(find(kMost, one_more), SlotCopy::kShort) << "all windows are in use";
  }
  for (std::uint32_t i = 0; i < kMost; ++i) {
    EXPECT_EQ(slots.read(found[i], got.data()), SlotCopy::kDone);
    EXPECT_EQ(got, bytes_of(5000, static_cast<int>(i)));
  }
  slots.let_go(found[3]);
  found[3].slots = nullptr;
  EXPECT_EQ(slots.read(kMost * kPerWindow, 1, 0, got), SlotCopy::kDone);
  EXPECT_EQ(got, bytes_of(5000, kMost));
  for (std::uint32_t i = 0; i < kMost; ++i) {
    if (i != 3) {
      EXPECT_EQ(slots.read(found[i], got.data()), SlotCopy::kDone);
      EXPECT_EQ(got, bytes_of(5000, static_cast<int>(i))) << "of a window that was needed since";
    }
  }
}

TEST_F(ClientSlotsTest, NoMoreThanSomeThreadsCopyAtATime) {
  ClientSlots& slots = attach();
  store(0, 0, bytes_of(1000, 1));
  publish(0, {.generation = 1, .end = 1000});
  std::array<link::SlotRange, wire::kMaxCopiers> found;
  std::bitset<64> numbers;
  for (link::SlotRange& range : found) {
    ASSERT_EQ(slots.find({.slot = 0, .place = 7, .generation = 1}, 0, 1000, range),
              SlotCopy::kDone);
    numbers.set(range.copier);
  }
  EXPECT_EQ(numbers.count(), wire::kMaxCopiers) << "each has a number of its own";
  EXPECT_TRUE(slots.is_in_use(7));
  EXPECT_FALSE(slots.is_in_use(8));
  std::vector<std::byte> got(1000);
  EXPECT_EQ(slots.read(0, 1, 0, got), SlotCopy::kShort);
  slots.let_go(found[10]);
  found[10].slots = nullptr;
  EXPECT_EQ(slots.read(0, 1, 0, got), SlotCopy::kDone);
  EXPECT_EQ(got, bytes_of(1000, 1));
}

// Its memory is there until then, and the shard knows that somebody can write to it.
TEST_F(ClientSlotsTest, ASessionEndsWhenTheLastThreadHasCopied) {
  ClientSlots& slots = attach();
  std::vector<std::byte> bytes = bytes_of(1000, 1);
  store(0, 0, bytes);
  publish(0, {.generation = 1, .end = 1000});
  std::vector<std::byte> got(1000);
  {
    link::SlotRange first;
    ASSERT_EQ(slots.find({.slot = 0, .generation = 1}, 0, 1000, first), SlotCopy::kDone);
    {
      link::SlotRange second;
      ASSERT_EQ(slots.find({.slot = 0, .generation = 1}, 0, 1000, second), SlotCopy::kDone);
      ClientSession::end(std::move(session_));
      EXPECT_EQ(slots.read(second, got.data()), SlotCopy::kDone);
    }
    EXPECT_EQ(slots.read(first, got.data()), SlotCopy::kDone);
    EXPECT_EQ(got, bytes);
    EXPECT_EQ(handler.ended, 0U);
  }
  EXPECT_TRUE(serve_until([&] { return handler.ended == 1; }));
}

// It ends because the shard did.
TEST_F(ClientSlotsTest, WhoCopiesWhileTheShardEndsIsLeftTheMemory) {
  ClientSlots& slots = attach();
  std::vector<std::byte> bytes = bytes_of(1000, 1);
  store(0, 0, bytes);
  publish(0, {.generation = 1, .end = 1000});
  link::SlotRange found;
  ASSERT_EQ(slots.find({.slot = 0, .generation = 1}, 0, 1000, found), SlotCopy::kDone);
  reactor->block_on(door->close());
  door.reset();
  ASSERT_TRUE(serve_until([&] { return !session_->check_shard(); }));
  ClientSession::end(std::move(session_));
  std::vector<std::byte> got(1000);
  EXPECT_EQ(slots.read(found, got.data()), SlotCopy::kDone);
  EXPECT_EQ(got, bytes);
}

// At the next place for that, which is none of ours.
TEST_F(ClientSlotsTest, AThreadThatEndsASessionIsNotCancelledInIt) {
  ClientSlots& slots = attach();
  store(0, 0, bytes_of(1000, 1));
  publish(0, {.generation = 1, .end = 1000});
  auto found = std::make_unique<link::SlotRange>();
  ASSERT_EQ(slots.find({.slot = 0, .generation = 1}, 0, 1000, *found), SlotCopy::kDone);
  ClientSession::end(std::move(session_));
  pthread_t thread{};
  auto copy = [](void* range) -> void* {
    pthread_cancel(pthread_self());
    delete static_cast<link::SlotRange*>(range);  // lint: allow delete by the last copier
    pthread_testcancel();
    return range;
  };
  ASSERT_EQ(pthread_create(&thread, nullptr, copy, found.release()), 0);
  void* result = nullptr;
  ASSERT_EQ(pthread_join(thread, &result), 0);
  EXPECT_EQ(result, PTHREAD_CANCELED);
  EXPECT_TRUE(serve_until([&] { return handler.ended == 1; }));
}

TEST_F(ClientSlotsTest, NothingIsReadFromAShardThatIsGone) {
  ClientSlots& slots = attach();
  publish(0, {.generation = 1, .end = 1000});
  std::vector<std::byte> got(1000);
  ASSERT_EQ(slots.read(0, 1, 0, got), SlotCopy::kDone);
  reactor->block_on(door->close());
  door.reset();
  EXPECT_TRUE(serve_until([&] { return slots.read(0, 1, 0, got) == SlotCopy::kMoved; }));
}

TEST_F(ClientSlotsTest, NothingIsReadOnceNobodyTellsWhetherTheShardIsThere) {
  ClientSlots& slots = attach();
  publish(0, {.generation = 1, .end = 1000});
  std::vector<std::byte> got(1000);
  ASSERT_EQ(slots.read(0, 1, 0, got), SlotCopy::kDone);
  ::close(session_->socket());  // as a program does that closes all descriptors
  EXPECT_TRUE(serve_until([&] { return slots.read(0, 1, 0, got) == SlotCopy::kMoved; }));
  EXPECT_TRUE(session_->check_shard()) << "calls go on";
}

// Each announcement is a message of its own.
TEST_F(ClientSlotsTest, AllAnnouncementsAreReadAtOnce) {
  attach();
  std::vector<ClientLane> lanes;
  for (int i = 0; i < 3; ++i) {
    lanes.push_back(*session_->take_lane());
    std::array<std::byte, 1> header{};
    ASSERT_TRUE(lanes.back().send({.id = testing::kEcho, .header = header, .data = {}}));
    lanes.back().announce_on_socket(true);
  }
  ASSERT_TRUE(serve_until([&] {
    std::ranges::for_each(lanes, &ClientLane::ring_again);  // a ring may be lost
    return handler.calls == 3;
  }));
  pollfd waiting{.fd = session_->socket(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&waiting, 1, 0), 1);
  EXPECT_TRUE(session_->drain_socket());
  EXPECT_EQ(poll(&waiting, 1, 0), 0);
  for (ClientLane& lane : lanes) {
    EXPECT_TRUE(lane.has_reply());
    lane.finish();
  }
}

TEST_F(ClientSlotsTest, WindowsAreNotDumped) {
  ClientSlots& slots = attach();
  ASSERT_TRUE(slots.fill(0, 0, kSlotBytes, bytes_of(1000, 1)));
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool is_window = false;
  bool was_seen = false;
  while (std::getline(maps, line)) {
    bool is_field = line.substr(0, line.find(' ')).ends_with(':');  // else a mapping begins
    is_window = is_field ? is_window : line.contains("memfd:slots");
    if (is_window && line.starts_with("VmFlags")) {
      was_seen = true;
      EXPECT_NE(line.find(" dd"), std::string::npos) << line;
    }
  }
  EXPECT_TRUE(was_seen);
}

TEST_F(ClientSlotsTest, WhoGetsTooFewDescriptorsHasNone) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
  Fd shard(ends[0]);
  Fd program(ends[1]);
  std::array<int, 2> two{data_.get(), states_fd_.get()};
  ASSERT_TRUE(
      answer_attach(shard.get(), {.lanes = 1, .area_bytes = kPage, .slot_bytes = kSlotBytes}, two));
  Result<AttachAnswer> answer = receive_answer(program.get());
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(answer->reply.slot_bytes, 0U);
  EXPECT_TRUE(answer->memory.is_open());
}

TEST_F(ClientSlotsTest, WhoDoesNotAskForThemHasNone) {
  attach();
  std::unique_ptr<ClientSession> other = attach_with(false);
  EXPECT_EQ(other->slots(), nullptr);
}

TEST_F(ClientSlotsTest, AShardThatSharesNoneHasNone) {
  open();
  session_ = attach_with(true);
  EXPECT_EQ(session_->slots(), nullptr);
}

}  // namespace
}  // namespace benchfs::door
