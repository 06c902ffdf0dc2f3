// Programs under a real mpirun, on this host.
#pragma once

#include <string>
#include <vector>

#include "system/system_test.h"

namespace benchfs::test {

class MpiTest : public SystemTest {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Runs mpirun with this many ranks of `arguments`, a program with its arguments, to which engine
  // and network of this host are added.
  Process start_ranks(int count, std::vector<std::string> arguments);
  // The process id of a serving rank; 0 if it cannot be read.
  pid_t pid_of_rank(int rank) const;
  // Nothing is left of the run but the directory.
  void expect_clean_registry() const;

 private:
  std::string asan_options_;
};

// Counts the occurrences of `text` in `all`.
int occurrences(const std::string& all, const std::string& text);

}  // namespace benchfs::test
