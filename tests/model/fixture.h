// A cluster with C API contexts, for tests that drive BenchFS as a program would.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "benchfs/benchfs.h"
#include "support/cluster.h"

namespace benchfs::test {

struct ContextCloser {
  void operator()(benchfs_context_t* context) const { benchfs_finalize(context); }
};
using ContextPtr = std::unique_ptr<benchfs_context_t, ContextCloser>;

// nullptr and a failed expectation when it cannot connect. timeout_ms 0: the default.
inline ContextPtr connect(const Cluster& cluster, unsigned timeout_ms = 0) {
  benchfs_options_t options{};
  options.struct_size = sizeof(options);
  options.registry_dir = cluster.registry_dir().c_str();
  options.timeout_ms = timeout_ms;
  options.connect_timeout_ms = 60'000;
  ContextPtr context(benchfs_connect(&options));
  EXPECT_NE(context, nullptr) << benchfs_get_error();
  return context;
}

}  // namespace benchfs::test
