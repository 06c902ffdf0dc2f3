// The counters of servers in the text format of Prometheus (version 0.0.4).
#pragma once

#include <span>
#include <string>

#include "cli/cluster/survey.h"

namespace benchfs::cli {

// All metrics are named benchfs_* and labelled with node and shard, those of operations with op,
// and their times with stage. A server that did not answer has benchfs_up 0 and nothing else.
std::string prometheus_text(std::span<const ServerStatus> servers);

}  // namespace benchfs::cli
