// Checks that the tests of the benchmarks make on their reports.
#pragma once

#include <nlohmann/json.hpp>

namespace benchfs::test {

// One element of "results": every field is there, and it is the result of verified work.
void expect_result_fields(const nlohmann::json& result);
// The same of pings, which have a path.
void expect_rpc_result_fields(const nlohmann::json& result);

}  // namespace benchfs::test
