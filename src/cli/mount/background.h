// A command that goes on in the background once it is ready.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace benchfs::cli {

class Background {
 public:
  // Forks. The parent waits until the child is ready or ends, and gets the exit code with which to
  // end; the child gets a Background. Call before anything starts a thread.
  struct Forked;
  static Result<Forked> fork();

  // In the child: lets the parent go, and leaves its terminal. Standard error goes to `log_path`;
  // "" discards it.
  void ready(const std::string& log_path);

 private:
  explicit Background(Fd parent) : parent_(std::move(parent)) {}
  Fd parent_;
};

struct Background::Forked {
  std::optional<int> exit_code;          // in the parent
  std::optional<Background> background;  // in the child
};

}  // namespace benchfs::cli
