// BenchFS as a FileTree.
#pragma once

#include "cli/files/file_tree.h"
#include "client/client.h"

namespace benchfs::cli {

class RemoteTree final : public FileTree {
 public:
  explicit RemoteTree(client::Client& client);
  [[nodiscard]] bool is_remote() const override { return true; }
  [[nodiscard]] std::string argument(const std::string& path) const override;
  Result<FileInfo> stat(const std::string& path) override;
  Result<FileInfo> lstat(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<std::string> readlink(const std::string& path) override;
  Result<std::unique_ptr<File>> open(const std::string& path) override;
  Result<std::unique_ptr<File>> create(const std::string& path, std::uint32_t mode) override;
  void read_files(std::span<WholeFile> files) override;
  void write_files(std::span<WholeFile> files, std::optional<Keep> keep) override;
  Status mkdir(const std::string& path, std::uint32_t mode) override;
  Status symlink(const std::string& target, const std::string& path) override;
  Status unlink(const std::string& path) override;
  Status set_attributes(const std::string& path, const FileInfo& info, Keep keep) override;

 private:
  client::Client& client_;
  unsigned umask_;
};

}  // namespace benchfs::cli
