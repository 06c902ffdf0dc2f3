// Message headers come from peers: any bytes, read as any message, must give values that lie within
// them, and what was read and written again must be the same bytes.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "wire/codec.h"
#include "wire/header.h"
#include "wire/ids.h"
#include "wire/messages.h"
#include "wire/opcode.h"
#include "wire/registration.h"

namespace benchfs::wire {
namespace {

using Bytes = std::span<const std::byte>;

bool lies_within(std::string_view text, Bytes bytes) {
  const auto* begin = reinterpret_cast<const char*>(bytes.data());
  return text.empty() ||
         (text.data() >= begin && text.data() + text.size() <= begin + bytes.size());
}

// Reads a fixed struct and up to two names whose lengths `lengths` takes from it.
template <typename T, typename Lengths>
void read_message(Bytes bytes, Lengths lengths) {
  Reader reader(bytes);
  T value;
  if (!reader.read(value)) {
    BENCHFS_CHECK(bytes.size() < sizeof(T) && !reader.ok() && reader.left() == 0);
    BENCHFS_CHECK(reader.read_text(1).empty());
    return;
  }
  std::array<std::size_t, 2> sizes = lengths(value);
  std::string_view first = reader.read_text(sizes[0]);
  std::string_view second = reader.read_text(sizes[1]);
  BENCHFS_CHECK(reader.ok() == (sizeof(T) + sizes[0] + sizes[1] <= bytes.size()));
  BENCHFS_CHECK(lies_within(first, bytes) && lies_within(second, bytes));
  if (!reader.ok()) {
    BENCHFS_CHECK(reader.left() == 0);
    return;
  }
  HeaderBuffer<2 * 65536 + 1024> again;
  again.append(value);
  again.append_text(first);
  again.append_text(second);
  Bytes copy = std::as_const(again).bytes();
  BENCHFS_CHECK(copy.size() + reader.left() == bytes.size());
  BENCHFS_CHECK(std::memcmp(copy.data(), bytes.data(), copy.size()) == 0);
}

template <typename T>
void read_fixed(Bytes bytes) {
  read_message<T>(bytes, [](const T&) { return std::array<std::size_t, 2>{0, 0}; });
}

template <typename T>
void read_named(Bytes bytes) {
  read_message<T>(bytes,
                  [](const T& value) { return std::array<std::size_t, 2>{value.name_bytes, 0}; });
}

void read_ids(Bytes bytes) {
  RequestHeader header;
  Reader reader(bytes);
  if (!reader.read(header)) {
    return;
  }
  RequestId request{header.request_id};
  BENCHFS_CHECK(RequestId::make(request.slot(), request.shard(), request.sequence()) == request);
  SessionId session{header.session_id};
  BENCHFS_CHECK(session.slot() < (1U << SessionId::kSlotBits));
  BENCHFS_CHECK(header.deadline_ms <= kLongestDeadlineMs);
}

void read_all(Bytes bytes) {
  read_ids(bytes);
  read_fixed<RequestHeader>(bytes);
  read_fixed<ReplyHeader>(bytes);
  read_fixed<RegisterClientRequestHeader>(bytes);
  RegisterReply reply;
  (void)read_register_reply(bytes, reply);
  read_fixed<ConnectionCloseRequestHeader>(bytes);
  read_fixed<GoodbyeHeader>(bytes);
  read_fixed<InvalidateAckHeader>(bytes);
  read_named<InvalidateHeader>(bytes);
  read_named<LookupRequest>(bytes);
  read_named<OpenRequest>(bytes);
  read_named<MkdirRequest>(bytes);
  read_named<SymlinkRequest>(bytes);
  read_named<UnlinkRequest>(bytes);
  read_named<RmdirRequest>(bytes);
  read_named<InstallEntryRequest>(bytes);
  read_message<RenameRequest>(bytes, [](const RenameRequest& value) {
    return std::array<std::size_t, 2>{value.old_name_bytes, value.new_name_bytes};
  });
  read_message<ReaddirRequest>(bytes, [](const ReaddirRequest& value) {
    return std::array<std::size_t, 2>{value.cursor_bytes, 0};
  });
}

}  // namespace
}  // namespace benchfs::wire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  benchfs::wire::read_all(std::as_bytes(std::span(data, size)));
  return 0;
}
