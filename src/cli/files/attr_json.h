// Attributes as JSON, the same in every command.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "wire/attr.h"

namespace benchfs::cli {

// {"name", "type", "inode", "mode": "0644", "nlink", "uid", "gid", "size", "atime_ns", …, and for
// files "chunk_bytes", "first_shard", "shards"; for symlinks "target"}.
nlohmann::ordered_json to_json(std::string_view name,
                               const wire::Attr& attr,
                               std::string_view target);

// Bytes that are not UTF-8 become U+FFFD.
std::string dump_json(const nlohmann::ordered_json& json);

}  // namespace benchfs::cli
