// Random operations on BenchFS and on a tmpfs directory must give the same results and bytes.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>

#include "model/fixture.h"
#include "model/model.h"

namespace benchfs::test {
namespace {

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr int kDefaultSteps = 400;
#else
constexpr int kDefaultSteps = 1000;
#endif

struct ClusterShape {
  std::uint32_t servers;
  std::uint32_t shards;
  server::Engine engine;
  std::size_t clients;
};

// Prints the shape in messages; googletest would show the bytes.
void PrintTo(const ClusterShape& shape, std::ostream* out) {
  *out << shape.servers << " servers of " << shape.shards << " shards, " << shape.clients
       << " clients";
}

std::string name_of(const ::testing::TestParamInfo<ClusterShape>& info) {
  const ClusterShape& shape = info.param;
  return fmt::format("{}Servers{}Shards{}{}Clients",
                     shape.servers,
                     shape.shards,
                     shape.engine == server::Engine::kFile ? "File" : "Memory",
                     shape.clients);
}

// Programs of a node and clients over the network work on the same files, whichever of them a run
// would be with.
class FsModel : public ::testing::TestWithParam<ClusterShape> {
 protected:
  FsModel() {
    if (const char* before = std::getenv(kVariable)) {
      before_ = before;
    }
  }
  ~FsModel() override {
    before_ ? ::setenv(kVariable, before_->c_str(), 1) : ::unsetenv(kVariable);
  }
  // Every second client goes the other way. The daemons have doors in any case.
  void choose_way(std::size_t client) const {
    bool is_over_network = (client % 2 == 0) == (before_ == "ucx");
    ::setenv(kVariable, is_over_network ? "ucx" : "node", 1);
  }

 private:
  static constexpr const char* kVariable = "BENCHFS_TRANSPORT";
  std::optional<std::string> before_;
};

// Both trees hang deep below their roots, so that a few ".." stay within what belongs to the test.
constexpr std::string_view kDeepRoot = "/1/2/3/4/5/6/7/8";

void make_deep_root(benchfs_context_t* context) {
  for (std::size_t slash = kDeepRoot.find('/', 1); slash != std::string_view::npos;
       slash = kDeepRoot.find('/', slash + 1)) {
    ASSERT_EQ(benchfs_mkdir(context, std::string(kDeepRoot.substr(0, slash)).c_str(), 0755), 0)
        << benchfs_get_error();
  }
  ASSERT_EQ(benchfs_mkdir(context, std::string(kDeepRoot).c_str(), 0755), 0);
}

TEST_P(FsModel, AgreesWithTheKernel) {
  umask(0);
  const ClusterShape& shape = GetParam();
  BENCHFS_TEST_ASSIGN(
      cluster,
      Cluster::start({.servers = shape.servers, .shards = shape.shards, .engine = shape.engine}));
  std::vector<ContextPtr> owners;
  std::vector<benchfs_context_t*> contexts;
  for (std::size_t i = 0; i < shape.clients; ++i) {
    choose_way(i);
    owners.push_back(connect(*cluster));
    ASSERT_NE(owners.back(), nullptr);
    contexts.push_back(owners.back().get());
  }
  ASSERT_NO_FATAL_FAILURE(make_deep_root(contexts.front()));

  TempDir reference(std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp");
  std::string reference_root = reference.path() + std::string(kDeepRoot);
  ASSERT_TRUE(std::filesystem::create_directories(reference_root));
  ASSERT_EQ(chmod(reference_root.c_str(), 0755), 0);  // the umask is 0

  const char* wanted = std::getenv("BENCHFS_MODEL_STEPS");
  // The file engine's time is that of the disk, and of fsync.
  int usual = shape.engine == server::Engine::kFile ? kDefaultSteps / 4 : kDefaultSteps;
  int steps = wanted != nullptr ? std::atoi(wanted) : usual;
  std::uint64_t seed = test_seed();
  {
    ApiDoor subject(contexts, std::string(kDeepRoot));
    SystemDoor kernel(reference_root);
    Model model(subject, kernel, seed, [&](Random& random) { subject.choose(random.next()); });
    EXPECT_TRUE(model.run(steps)) << "BENCHFS_SEED=" << fmt::format("{:#x}", seed) << "\n"
                                  << model.failure();
  }
  owners.clear();
  Status stopped = cluster->stop();
  EXPECT_TRUE(stopped.has_value()) << stopped.error().message();
}

constexpr auto kMemory = server::Engine::kMemory;
constexpr auto kFile = server::Engine::kFile;
INSTANTIATE_TEST_SUITE_P(Clusters,
                         FsModel,
                         ::testing::Values(ClusterShape{1, 1, kMemory, 2},
                                           ClusterShape{1, 1, kFile, 2},
                                           ClusterShape{1, 2, kMemory, 2},
                                           ClusterShape{1, 2, kFile, 2},
                                           ClusterShape{2, 1, kMemory, 2},
                                           ClusterShape{2, 1, kFile, 2},
                                           ClusterShape{2, 2, kMemory, 2},
                                           ClusterShape{2, 2, kFile, 2},
                                           ClusterShape{4, 1, kMemory, 2},
                                           ClusterShape{4, 1, kFile, 2},
                                           ClusterShape{4, 2, kMemory, 2},
                                           ClusterShape{4, 2, kFile, 2},
                                           ClusterShape{2, 1, kFile, 3},
                                           ClusterShape{4, 2, kMemory, 4}),
                         name_of);

}  // namespace
}  // namespace benchfs::test
