// Writes one JSON value, piece by piece, as text: what servers answer to administrators.
//
//   JsonWriter json;
//   json.begin_object();
//   json.field("clients", 3);
//   json.begin_array("waits");
//   …
//   json.end_array();
//   json.end_object();
//   send(std::move(json).take());
//
// The caller keeps begin and end in pairs and gives each member of an object its key; the writer
// places commas and escapes text. The result is ASCII: bytes of a text that are not are written as
// the characters of the same number, so that any client id makes valid JSON.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace benchfs {

class JsonWriter {
 public:
  // Within an array or at the top.
  void begin_object() { open('{'); }
  void begin_array() { open('['); }
  // Within an object. Keys are written as they are: they need no escape.
  void begin_object(std::string_view key) { open(key, '{'); }
  void begin_array(std::string_view key) { open(key, '['); }
  void end_object() { close('}'); }
  void end_array() { close(']'); }

  template <typename T>
  void field(std::string_view key, T value) {
    write_key(key);
    write(value);
  }
  template <typename T>
  void element(T value) {
    separate();
    write(value);
  }

  [[nodiscard]] std::size_t size() const { return text_.size(); }
  // The whole, when everything that was begun has ended.
  [[nodiscard]] std::string take() &&;

 private:
  void separate();
  void open(char bracket);
  void open(std::string_view key, char bracket);
  void close(char bracket);
  void write_key(std::string_view key);
  void write(bool value) { text_ += value ? "true" : "false"; }
  void write(double value);  // null when it is not finite
  void write(std::string_view value);
  void write(const char* value) { write(std::string_view(value)); }
  void write(const std::string& value) { write(std::string_view(value)); }
  template <std::integral T>
  void write(T value) {
    text_ += fmt::format("{}", value);
  }

  std::string text_;
  int depth_ = 0;
  bool is_first_ = true;  // of the array or object that was begun last
};

}  // namespace benchfs
