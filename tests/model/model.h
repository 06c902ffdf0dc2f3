// Random operations, done to a file system and to a directory of the kernel's, that must agree.
//
// Everything is drawn from one seed. run() stops at the first difference and says what was done
// before it.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "model/door.h"

namespace benchfs::test {

class Model {
 public:
  // `before_each` is called before every operation, to choose a client.
  Model(Door& subject,
        SystemDoor& reference,
        std::uint64_t seed,
        std::function<void(Random&)> before_each)
      : subject_(subject),
        reference_(reference),
        random_(seed),
        before_each_(std::move(before_each)) {}

  // False after a difference; then failure() is the whole story.
  bool run(int steps);
  // Attributes and content of everything in the tree.
  bool compare_trees();
  [[nodiscard]] const std::string& failure() const { return failure_; }

 private:
  static constexpr std::size_t kMaxOpen = 8;

  struct OpenFile {
    int number = 0;
    std::string path;
    int flags = 0;
  };

  bool step();
  void names_step(std::uint64_t kind);
  void attributes_step(std::uint64_t kind);
  void xattrs_step();
  void file_step(std::uint64_t kind);
  void mapping_step(const OpenFile& file);
  void open_step();
  void close_step();
  void tree_step(const std::string& path);
  void thin_out();

  // Does it in both and compares.
  template <typename Operation>
  Outcome both(const std::string& what, Operation&& operation);

  std::string random_path();
  std::string random_name();
  std::string known_path();
  std::string random_target();
  std::int64_t random_offset();
  std::size_t random_size();
  std::string random_bytes();
  OpenFile& random_file() { return files_[random_.below(files_.size())]; }
  bool chance(std::uint64_t percent) { return random_.below(100) < percent; }

  Door& subject_;
  SystemDoor& reference_;
  Random random_;
  std::function<void(Random&)> before_each_;
  std::vector<OpenFile> files_;
  std::string touched_;              // path of the last step
  std::vector<std::string> known_;   // paths seen by the last tree comparison
  std::deque<std::string> history_;  // the last steps, comparisons of trees left out
  bool in_tree_ = false;
  std::string failure_;
  bool has_xattrs_ = true;  // the reference has; tmpfs does since Linux 6.6
  int step_count_ = 0;
};

}  // namespace benchfs::test
