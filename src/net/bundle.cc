#include "net/bundle.h"

#include "wire/codec.h"

namespace benchfs::net {

bool Bundle::add(std::uint16_t id, std::span<const std::byte> header) {
  BundleReader::Head head{id, static_cast<std::uint16_t>(header.size())};
  if (bytes_.size() + sizeof head + header.size() > kMaxBytes) {
    return false;
  }
  std::span<const std::byte> first = std::as_bytes(std::span(&head, 1));
  bytes_.insert(bytes_.end(), first.begin(), first.end());
  bytes_.insert(bytes_.end(), header.begin(), header.end());
  ++count_;
  return true;
}

bool BundleReader::next() {
  if (!wire::Reader(rest_).read(head_) || rest_.size() - sizeof head_ < head_.bytes) {
    return false;
  }
  header_ = rest_.subspan(sizeof head_, head_.bytes);
  rest_ = rest_.subspan(sizeof head_ + head_.bytes);
  return true;
}

}  // namespace benchfs::net
