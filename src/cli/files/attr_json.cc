#include "cli/files/attr_json.h"

#include <fmt/format.h>

#include "cli/files/format.h"

namespace benchfs::cli {

nlohmann::ordered_json to_json(std::string_view name,
                               const wire::Attr& attr,
                               std::string_view target) {
  nlohmann::ordered_json json;
  json["name"] = name;
  json["type"] = type_name(attr.mode);
  json["inode"] = attr.inode;
  json["mode"] = fmt::format("{:04o}", attr.mode & 07777);
  json["nlink"] = attr.nlink;
  json["uid"] = attr.uid;
  json["gid"] = attr.gid;
  json["size"] = attr.size;
  json["atime_ns"] = attr.atime_ns;
  json["mtime_ns"] = attr.mtime_ns;
  json["ctime_ns"] = attr.ctime_ns;
  if (attr.is_regular()) {
    json["chunk_bytes"] = attr.layout.chunk_bytes;
    json["first_shard"] = attr.layout.first_shard;
    json["shards"] = attr.layout.width;
  }
  if (attr.is_symlink()) {
    json["target"] = target;
  }
  return json;
}

std::string dump_json(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace benchfs::cli
