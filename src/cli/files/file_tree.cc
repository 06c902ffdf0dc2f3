#include "cli/files/file_tree.h"

#include <cerrno>
#include <utility>

namespace benchfs::cli {
namespace {

Status read_whole(FileTree& tree, WholeFile& file) {
  BENCHFS_TRY(std::unique_ptr<File> in, tree.open(file.path));
  BENCHFS_TRY(std::size_t count, in->read(0, file.data));
  file.data.resize(count);
  return in->close();
}

Status write_whole(FileTree& tree, WholeFile& file, std::optional<Keep> keep) {
  BENCHFS_TRY(std::unique_ptr<File> out, tree.create(file.path, file.info.mode));
  file.is_created = true;
  BENCHFS_TRY_VOID(out->write(0, file.data));
  if (keep) {
    BENCHFS_TRY_VOID(out->set_attributes(file.info, *keep));
  }
  return out->close();
}

}  // namespace

Result<File::Copied> File::copy_from(File& /*source*/,
                                     std::uint64_t,
                                     std::uint64_t,
                                     bool& /*source_failed*/) {
  return fail_errno(EOPNOTSUPP);
}

void FileTree::read_files(std::span<WholeFile> files) {
  for (WholeFile& file : files) {
    file.status = read_whole(*this, file);
  }
}

void FileTree::write_files(std::span<WholeFile> files, std::optional<Keep> keep) {
  for (WholeFile& file : files) {
    file.status = write_whole(*this, file, keep);
  }
}

}  // namespace benchfs::cli
