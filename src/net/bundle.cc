#include "net/bundle.h"

#include "wire/codec.h"

namespace benchfs::net {

bool Bundle::add(std::uint16_t id,
                 std::span<const std::byte> header,
                 std::span<const std::byte> data) {
  BundleReader::Head head{.id = id,
                          .header_bytes = static_cast<std::uint16_t>(header.size()),
                          .data_bytes = static_cast<std::uint16_t>(data.size())};
  if (bytes_.size() + sizeof head + header.size() + data.size() > kMaxBytes) {
    return false;
  }
  for (std::span<const std::byte> part : {std::as_bytes(std::span(&head, 1)), header, data}) {
    bytes_.insert(bytes_.end(), part.begin(), part.end());
  }
  ++count_;
  return true;
}

bool BundleReader::next() {
  wire::Reader reader(rest_);
  if (!reader.read(head_) || reader.left() < std::size_t{head_.header_bytes} + head_.data_bytes) {
    return false;
  }
  rest_ = rest_.subspan(sizeof head_);
  header_ = rest_.first(head_.header_bytes);
  data_ = rest_.subspan(head_.header_bytes, head_.data_bytes);
  rest_ = rest_.subspan(header_.size() + data_.size());
  return true;
}

}  // namespace benchfs::net
