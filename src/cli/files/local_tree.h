// The local file system as a FileTree.
#pragma once

#include "cli/files/file_tree.h"

namespace benchfs::cli {

class LocalTree final : public FileTree {
 public:
  [[nodiscard]] bool is_remote() const override { return false; }
  [[nodiscard]] std::string argument(const std::string& path) const override { return path; }
  Result<FileInfo> stat(const std::string& path) override;
  Result<FileInfo> lstat(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<std::string> readlink(const std::string& path) override;
  Result<std::unique_ptr<File>> open(const std::string& path) override;
  Result<std::unique_ptr<File>> create(const std::string& path, std::uint32_t mode) override;
  Status mkdir(const std::string& path, std::uint32_t mode) override;
  Status symlink(const std::string& target, const std::string& path) override;
  Status unlink(const std::string& path) override;
  Status set_attributes(const std::string& path, const FileInfo& info, Keep keep) override;
};

}  // namespace benchfs::cli
