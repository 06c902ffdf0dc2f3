// benchfs cat: copies files to standard output.
#include <unistd.h>
#include <cerrno>

#include "args/command.h"
#include "cli/files/commands.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

constexpr std::size_t kReadBytes = std::size_t{4} << 20;

Status write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t count = write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (count >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      return fail_errno(errno);
    }
  }
  return {};
}

// False once standard output cannot be written any more.
bool print_file(Session& session,
                const std::string& argument,
                std::span<std::byte> buffer,
                bool& is_reader_gone) {
  std::optional<std::string> path = session.remote_path(argument);
  if (!path) {
    return true;
  }
  auto file = session.run(session.fs().open(std::move(*path), wire::kOpenRead, 0));
  if (!file) {
    session.fail(argument, file.error());
    return true;
  }
  bool can_write = true;
  std::uint64_t offset = 0;
  while (can_write) {
    Result<std::size_t> count = session.run(session.fs().read(**file, offset, buffer));
    if (!count) {
      session.fail(argument, count.error());
      break;
    }
    if (*count == 0) {
      break;
    }
    offset += *count;
    Status written = write_all(buffer.first(*count));
    if (!written) {
      can_write = false;
      is_reader_gone = written.error().is_posix(EPIPE);
      if (!is_reader_gone) {
        session.fail("standard output", written.error());
      }
    }
  }
  Status closed = session.run(session.fs().close(std::move(*file)));
  if (!closed) {
    session.fail(argument, closed.error());
  }
  return can_write;
}

int run_cat(const Context& context, const std::vector<std::string>& paths) {
  std::optional<Session> session = Session::open(context, "cat");
  if (!session) {
    return kExitFailed;
  }
  std::vector<std::byte> buffer(kReadBytes);
  bool is_reader_gone = false;
  for (const std::string& argument : paths) {
    if (!print_file(*session, argument, buffer, is_reader_gone)) {
      break;
    }
  }
  return is_reader_gone ? kExitReaderGone : session->exit_code();
}

}  // namespace

void add_cat_command(args::Command& app, Context& context) {
  auto paths = std::make_shared<std::vector<std::string>>();
  args::Command* command = app.add_subcommand("cat", "Print files");
  command->add_option("FILE", *paths, "Files in BenchFS")->required();
  command->footer(
      "  benchfs cat bfs:/log.txt\n"
      "  benchfs cat bfs:/part.0 bfs:/part.1 > whole");
  command->callback([paths, &context] { context.exit_code = run_cat(context, *paths); });
}

}  // namespace benchfs::cli
