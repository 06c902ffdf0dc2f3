#include "client/environment.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace benchfs::client {
namespace {

using std::chrono::milliseconds;

// The environment as it was, after each test.
class Environment : public testing::Test {
 protected:
  static constexpr const char* kNames[] = {"BENCHFS_METADATA_TIMEOUT_MS",
                                           "BENCHFS_DATA_TIMEOUT_MS",
                                           "BENCHFS_ADMINISTRATION_TIMEOUT_MS",
                                           "BENCHFS_CONNECT_TIMEOUT_MS",
                                           "BENCHFS_SILENCE_LIMIT_MS",
                                           "BENCHFS_TRANSPORT",
                                           "BENCHFS_UCX_SHARED_MEMORY",
                                           "BENCHFS_CHECK_PERMISSIONS"};
  Environment() {
    for (const char* name : kNames) {
      unsetenv(name);
    }
  }
  ~Environment() override {
    for (const char* name : kNames) {
      unsetenv(name);
    }
  }
  Options options;
};

TEST_F(Environment, LeavesTheDefaultsWhenItNamesNothing) {
  ASSERT_TRUE(apply_environment(options));
  EXPECT_EQ(options.file_system.timeouts.metadata, Timeouts{}.metadata);
  EXPECT_EQ(options.file_system.timeouts.data, Timeouts{}.data);
  EXPECT_EQ(options.file_system.timeouts.administration, Timeouts{}.administration);
  EXPECT_EQ(options.pool.connect_timeout, rpc::ConnectionPool::Config{}.connect_timeout);
  EXPECT_EQ(options.pool.silence_limit, rpc::ConnectionPool::Config{}.silence_limit);
}

TEST_F(Environment, SetsEachClassOfItsOwn) {
  for (int i = 0; i < 5; ++i) {
    setenv(kNames[i], std::to_string(1000 + i).c_str(), 1);
  }
  ASSERT_TRUE(apply_environment(options));
  EXPECT_EQ(options.file_system.timeouts.metadata, milliseconds(1000));
  EXPECT_EQ(options.file_system.timeouts.data, milliseconds(1001));
  EXPECT_EQ(options.file_system.timeouts.administration, milliseconds(1002));
  EXPECT_EQ(options.pool.connect_timeout, milliseconds(1003));
  EXPECT_EQ(options.pool.silence_limit, milliseconds(1004));
}

TEST_F(Environment, RefusesWhatIsNoNumberInRangeAndNamesIt) {
  for (const char* bad : {"1s", "-1", "0", "86400001", "99999999999999999999", " 5"}) {
    setenv(kNames[1], bad, 1);
    Status status = apply_environment(options);
    ASSERT_FALSE(status) << bad;
    EXPECT_EQ(status.error().code, Errc::kConfig);
    EXPECT_NE(status.error().message().find(kNames[1]), std::string::npos);
  }
  unsetenv(kNames[1]);
  setenv(kNames[4], "99", 1);
  EXPECT_FALSE(apply_environment(options)) << "a shorter silence is no sign of anything";
}

TEST_F(Environment, ChoosesTheTransport) {
  setenv("BENCHFS_TRANSPORT", "node", 1);
  setenv("BENCHFS_UCX_SHARED_MEMORY", "1", 1);
  ASSERT_TRUE(apply_environment(options));
  EXPECT_EQ(options.pool.transport, rpc::Transport::kNode);
  EXPECT_EQ(options.network.sharing, net::Sharing::kMemory);
  setenv("BENCHFS_UCX_SHARED_MEMORY", "0", 1);
  ASSERT_TRUE(apply_environment(options));
  EXPECT_EQ(options.network.sharing, net::Sharing::kNothing);
}

TEST_F(Environment, SwitchesPermissionChecksOnAndOff) {
  EXPECT_FALSE(options.file_system.check_permissions);
  setenv("BENCHFS_CHECK_PERMISSIONS", "1", 1);
  ASSERT_TRUE(apply_environment(options));
  EXPECT_TRUE(options.file_system.check_permissions);
  setenv("BENCHFS_CHECK_PERMISSIONS", "0", 1);
  ASSERT_TRUE(apply_environment(options));
  EXPECT_FALSE(options.file_system.check_permissions);
}

TEST_F(Environment, RefusesAChoiceThatIsNoneAndNamesTheVariable) {
  for (const char* name :
       {"BENCHFS_TRANSPORT", "BENCHFS_UCX_SHARED_MEMORY", "BENCHFS_CHECK_PERMISSIONS"}) {
    for (const char* bad : {"yes", "UCX", "1 ", "auto,ucx"}) {
      setenv(name, bad, 1);
      Status status = apply_environment(options);
      ASSERT_FALSE(status) << name << "=" << bad;
      EXPECT_EQ(status.error().code, Errc::kConfig);
      EXPECT_NE(status.error().message().find(name), std::string::npos);
    }
    unsetenv(name);
  }
}

TEST_F(Environment, TakesTheLengthFromWhichBytesAreCopiedByTheProgram) {
  setenv("BENCHFS_DIRECT_BYTES", "0", 1);
  ASSERT_TRUE(apply_environment(options));
  EXPECT_EQ(options.file_system.direct_bytes, 0U);
  setenv("BENCHFS_DIRECT_BYTES", "4K", 1);
  EXPECT_FALSE(apply_environment(options));
  unsetenv("BENCHFS_DIRECT_BYTES");
}

TEST_F(Environment, WhatIsEmptyIsNotSet) {
  rpc::Transport before = options.pool.transport;
  for (const char* name :
       {"BENCHFS_TRANSPORT", "BENCHFS_DIRECT_BYTES", "BENCHFS_METADATA_TIMEOUT_MS"}) {
    setenv(name, "", 1);
  }
  EXPECT_TRUE(apply_environment(options));
  EXPECT_EQ(options.pool.transport, before);
  for (const char* name :
       {"BENCHFS_TRANSPORT", "BENCHFS_DIRECT_BYTES", "BENCHFS_METADATA_TIMEOUT_MS"}) {
    unsetenv(name);
  }
}

}  // namespace
}  // namespace benchfs::client
