#include "cli/files/remove_tree.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "cli/files/fan_out.h"
#include "cli/files/listing.h"
#include "cli/files/remote_path.h"

namespace benchfs::cli {
namespace {

constexpr std::size_t kParallelUnlinks = 32;
constexpr int kAttempts = 5;

rt::Task<void> unlink_one(client::FileSystem* fs, std::string path, Status* result) {
  *result = co_await fs->unlink(std::move(path));
}

// Another rm was faster: what was wanted is done.
bool is_gone(const Error& error) {
  return error.is_posix(ENOENT) || error.is_posix(ESTALE);
}

void unlink_all(Session& session, const std::vector<std::string>& files) {
  std::vector<Status> results(files.size());
  client::FileSystem* fs = &session.fs();
  auto unlink = [fs, &files, &results](std::size_t index) {
    return unlink_one(fs, files[index], &results[index]);
  };
  (void)session.run(fan_out(files.size(), kParallelUnlinks, unlink));
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (!results[i] && !is_gone(results[i].error())) {
      session.fail(to_argument(files[i]), results[i].error());
    }
  }
}

void remove_tree(Session& session, const std::string& directory, int attempts) {
  Result<std::vector<ListedEntry>> entries =
      list_directory(session, directory, WithAttributes::kNo);
  if (!entries) {
    if (!is_gone(entries.error())) {
      session.fail(to_argument(directory), entries.error());
    }
    return;
  }
  std::vector<std::string> files;
  for (const ListedEntry& entry : *entries) {
    if (InterruptGuard::is_interrupted()) {
      return;
    }
    std::string path = join_path(directory, entry.name);
    if (S_ISDIR(entry.type)) {
      remove_tree(session, path, kAttempts);
    } else {
      files.push_back(std::move(path));
    }
  }
  unlink_all(session, files);
  if (InterruptGuard::is_interrupted()) {
    return;
  }
  Status removed = session.run(session.fs().rmdir(directory));
  if (removed || is_gone(removed.error())) {
    return;
  }
  // Another rm may be in the middle of removing what we listed, or somebody added a file.
  if (removed.error().is_posix(ENOTEMPTY) && attempts > 1) {
    remove_tree(session, directory, attempts - 1);
    return;
  }
  session.fail(to_argument(directory), removed.error());
}

}  // namespace

void remove_tree(Session& session, const std::string& directory) {
  remove_tree(session, directory, kAttempts);
}

}  // namespace benchfs::cli
