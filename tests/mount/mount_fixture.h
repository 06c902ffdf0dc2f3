// A cluster of daemons and mounts of it. Nothing stays mounted at the end of a test.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "system/system_test.h"

namespace benchfs::test {

class MountTest : public SystemTest {
 protected:
  struct Mounted {
    std::string path;
    pid_t process = 0;  // that serves it, in the background
    [[nodiscard]] std::string operator/(const std::string& name) const { return path + "/" + name; }
  };

  // Fails without /dev/fuse, unless BENCHFS_SKIP names mount; starts two daemons.
  void SetUp() override;
  void TearDown() override;

  // benchfs mount on a new directory, in the background.
  Mounted mount(const std::string& name = "mnt", const std::vector<std::string>& options = {});
  // Takes it away whatever its state, and waits for its process.
  void take_away(const Mounted& mounted);
  [[nodiscard]] static bool is_mounted(const std::string& path);
  // Runs a shell script in a directory; its output, if it fails, is the failure's text.
  void run_script(const std::string& directory, const std::string& script);

  // Requests about names, attributes and data that all daemons have served, but for closes, which
  // come later.
  static std::uint64_t requests(client::Client& client);

  nlohmann::json cluster_;
  // LSAN_OPTIONS as the tests were started with. At the end of a process that has gone to the
  // background the leak sanitizer sometimes waits for ever, so the programs run without it here.
  std::string leak_options_;

 private:
  std::vector<Mounted> mounts_;
};

// Whole files, through the kernel. Errors fail the test.
void put(const std::string& path, std::string_view text);
std::string get(const std::string& path);
struct stat stat_of(const std::string& path);
// errno of a system call that returned `result`.
int error_of(int result);

}  // namespace benchfs::test
