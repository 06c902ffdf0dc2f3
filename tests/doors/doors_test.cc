// What is done through one door is seen through every other at once: random operations through two
// doors, in turns, and on a directory of the kernel's, which must agree in every result.
//
// BENCHFS_DOOR_STEPS=100000 and BENCHFS_SEED=… in the environment choose how many operations and
// which ones.
#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "benchfs/benchfs.h"
#include "doors/doors.h"
#include "model/model.h"
#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr int kSteps = 150;
#else
constexpr int kSteps = 700;
#endif
constexpr int kStepsWithCommands = kSteps / 4;

struct ContextCloser {
  void operator()(benchfs_context_t* context) const { benchfs_finalize(context); }
};

class Doors : public MountTest {
 protected:
  // The trees hang deep below their roots, so that a few ".." stay within what belongs to the test.
  static constexpr std::string_view kRoot = "/1/2/3/4/5/6/7/8";

  void SetUp() override {
    umask(0);
    ASSERT_NO_FATAL_FAILURE(MountTest::SetUp());
    if (!IsSkipped()) {
      ok({"mkdir", "-p", "-m", "755", "bfs:" + std::string(kRoot)});
    }
  }

  std::unique_ptr<Door> api_door() {
    benchfs_options_t options{};
    options.struct_size = sizeof options;
    std::string directory = registry();
    options.registry_dir = directory.c_str();
    context_.reset(benchfs_connect(&options));
    EXPECT_NE(context_, nullptr) << benchfs_get_error();
    return std::make_unique<ApiDoor>(std::vector{context_.get()}, std::string(kRoot));
  }
  std::unique_ptr<Door> mount_door(const std::string& name,
                                   const std::vector<std::string>& options = {}) {
    return std::make_unique<SystemDoor>(mount(name, options).path + std::string(kRoot));
  }
#ifdef DOOR_AGENT_PROGRAM  // not in sanitizer builds
  std::unique_ptr<Door> preload_door() {
    return std::make_unique<AgentDoor>(std::vector<std::string>{BENCHFS_PROGRAM,
                                                                "--registry-dir",
                                                                registry(),
                                                                "run",
                                                                "--",
                                                                DOOR_AGENT_PROGRAM,
                                                                "/bfs" + std::string(kRoot),
                                                                path("")});
  }
#endif
  std::unique_ptr<Door> command_door() {
    return std::make_unique<CommandDoor>(
        [this](std::vector<std::string> arguments) { return benchfs(std::move(arguments)); },
        std::string(kRoot));
  }

  static int steps(int usual) {
    const char* wanted = std::getenv("BENCHFS_DOOR_STEPS");
    return wanted != nullptr ? std::atoi(wanted) : usual;
  }

  // Commands take a process each: they get every twentieth operation.
  void agree(Door& first, Door& second, int steps, bool with_commands = false) {
    TempDir place(std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp");
    std::string reference_root = place.path() + std::string(kRoot);
    ASSERT_TRUE(std::filesystem::create_directories(reference_root));
    ASSERT_EQ(::chmod(reference_root.c_str(), 0755), 0);
    SystemDoor reference(reference_root);
    PairDoor pair(first, second, with_commands ? 20 : 1);
    std::uint64_t seed = test_seed();
    Model model(pair, reference, seed, [&](Random& random) {
      pair.choose(random.next(), with_commands ? 30 : 50);
    });
    EXPECT_TRUE(model.run(steps)) << "BENCHFS_SEED=" << fmt::format("{:#x}", seed) << "\n"
                                  << model.failure();
    EXPECT_GT(pair.counts()[0], steps / 3);
    EXPECT_GT(pair.counts()[1], steps / (with_commands ? 40 : 3));
  }

 private:
  std::unique_ptr<benchfs_context_t, ContextCloser> context_;
};

TEST_F(Doors, TheCApiAndAMountAgree) {
  auto api = api_door();
  auto mount = mount_door("m");
  agree(*api, *mount, steps(kSteps));
}

TEST_F(Doors, TwoMountsAgree) {
  auto first = mount_door("a");
  auto second = mount_door("b");
  agree(*first, *second, steps(kSteps));
}

TEST_F(Doors, TheCApiAndAMountWithThePageCacheAgree) {
  auto api = api_door();
  auto mount = mount_door("m", {"--page-cache"});
  agree(*api, *mount, steps(kSteps));
}

TEST_F(Doors, TheCommandsAgreeWithTheCApi) {
  auto api = api_door();
  auto commands = command_door();
  agree(*api, *commands, steps(kStepsWithCommands), true);
}

TEST_F(Doors, TheCommandsAgreeWithAMount) {
  auto mount = mount_door("m");
  auto commands = command_door();
  agree(*mount, *commands, steps(kStepsWithCommands), true);
}

#ifdef DOOR_AGENT_PROGRAM
TEST_F(Doors, TheCApiAndThePreloadLibraryAgree) {
  auto api = api_door();
  auto preload = preload_door();
  agree(*api, *preload, steps(kSteps));
}

TEST_F(Doors, AMountAndThePreloadLibraryAgree) {
  auto mount = mount_door("m");
  auto preload = preload_door();
  agree(*mount, *preload, steps(kSteps));
}

TEST_F(Doors, TwoProgramsUnderThePreloadLibraryAgree) {
  auto first = preload_door();
  auto second = preload_door();
  agree(*first, *second, steps(kSteps));
}

TEST_F(Doors, TheCommandsAgreeWithThePreloadLibrary) {
  auto preload = preload_door();
  auto commands = command_door();
  agree(*preload, *commands, steps(kStepsWithCommands), true);
}
#endif

}  // namespace
}  // namespace benchfs::test
