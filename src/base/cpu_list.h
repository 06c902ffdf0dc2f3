// Sets of processors, as text like that of taskset and cgroups: "0-3,8".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace benchfs {

// Ascending, without repetitions.
using CpuList = std::vector<unsigned>;

// "" is the empty list. Errors: kInvalidArgument.
Result<CpuList> parse_cpu_list(std::string_view text);
std::string to_string(const CpuList& cpus);

// Those that the calling thread may run on.
CpuList allowed_cpus();
// Lets the calling thread run on these only. Errors: kSystem (none of them exists, or is allowed).
Status run_on(const CpuList& cpus);

}  // namespace benchfs
