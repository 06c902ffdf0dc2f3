#include "base/json_writer.h"

#include <cmath>
#include <utility>

#include "base/check.h"

namespace benchfs {

void JsonWriter::separate() {
  if (!is_first_) {
    text_ += ',';
  }
  is_first_ = false;
}

void JsonWriter::open(char bracket) {
  separate();
  text_ += bracket;
  ++depth_;
  is_first_ = true;
}

void JsonWriter::open(std::string_view key, char bracket) {
  write_key(key);
  text_ += bracket;
  ++depth_;
  is_first_ = true;
}

void JsonWriter::close(char bracket) {
  BENCHFS_CHECK(depth_ > 0);
  text_ += bracket;
  --depth_;
  is_first_ = false;
}

void JsonWriter::write_key(std::string_view key) {
  separate();
  text_ += '"';
  text_ += key;
  text_ += "\":";
}

void JsonWriter::write(double value) {
  if (!std::isfinite(value)) {
    text_ += "null";
    return;
  }
  text_ += fmt::format("{:.6f}", value);
}

void JsonWriter::write(std::string_view value) {
  text_ += '"';
  for (char c : value) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text_ += '\\';
      text_ += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      text_ += fmt::format("\\u{:04x}", byte);
    } else {
      text_ += c;
    }
  }
  text_ += '"';
}

std::string JsonWriter::take() && {
  BENCHFS_CHECK(depth_ == 0);
  return std::move(text_);
}

}  // namespace benchfs
