// benchfs touch and truncate.
#include <cerrno>

#include "args/command.h"
#include "base/config.h"
#include "cli/files/commands.h"
#include "cli/files/format.h"
#include "cli/files/session.h"
#include "wire/limits.h"

namespace benchfs::cli {
namespace {

struct Arguments {
  std::vector<std::string> paths;
  bool no_create = false;
  bool access_only = false;
  bool modification_only = false;
  std::string date;
  std::string stamp;
  std::string size;
};

// Creates the file if it is missing, unless -c was given. False when it is missing and was not
// created.
Result<bool> ensure_file(Session& session, const std::string& path, bool create) {
  if (!create) {
    Result<wire::Attr> present = session.run(session.fs().stat(path));
    if (!present && present.error().is_posix(ENOENT)) {
      return false;
    }
    BENCHFS_TRY_VOID(std::move(present));
    return true;
  }
  auto file = session.run(
      session.fs().open(path, wire::kOpenWrite | wire::kOpenCreate, 0666 & ~process_umask()));
  if (!file) {
    if (file.error().is_posix(EISDIR)) {
      return true;  // a directory has times too
    }
    return std::unexpected(std::move(file.error()));
  }
  BENCHFS_TRY_VOID(session.run(session.fs().close(std::move(*file))));
  return true;
}

Status apply(Session& session,
             const std::string& path,
             bool create,
             const wire::SetAttrRequest& request) {
  BENCHFS_TRY(bool present, ensure_file(session, path, create));
  if (present) {
    BENCHFS_TRY_VOID(session.run(session.fs().set_attr(path, request)));
  }
  return {};
}

template <typename RequestFor>
int apply_to_all(const Context& context,
                 std::string_view command,
                 const Arguments& arguments,
                 RequestFor&& request_for) {
  std::optional<Session> session = Session::open(context, command);
  if (!session) {
    return kExitFailed;
  }
  for (const std::string& argument : arguments.paths) {
    std::optional<std::string> path = session->remote_path(argument);
    if (!path) {
      continue;
    }
    Result<wire::SetAttrRequest> request = request_for(*session, *path);
    Status done = request ? apply(*session, *path, !arguments.no_create, *request)
                          : Status(std::unexpected(request.error()));
    if (!done) {
      session->fail(argument, done.error());
    }
  }
  return session->exit_code();
}

// --- touch ---------------------------------------------------------------------------------------

Result<wire::SetAttrRequest> times_of(const Arguments& arguments) {
  wire::SetAttrRequest request;
  bool access = !arguments.modification_only || arguments.access_only;
  bool modification = !arguments.access_only || arguments.modification_only;
  if (arguments.date.empty() && arguments.stamp.empty()) {
    request.mask = (access ? wire::kSetAtimeNow : 0U) | (modification ? wire::kSetMtimeNow : 0U);
    return request;
  }
  BENCHFS_TRY(std::int64_t ns,
              arguments.date.empty() ? parse_stamp(arguments.stamp) : parse_date(arguments.date));
  request.mask = (access ? wire::kSetAtime : 0U) | (modification ? wire::kSetMtime : 0U);
  request.atime_ns = ns;
  request.mtime_ns = ns;
  return request;
}

int run_touch(const Context& context, const Arguments& arguments) {
  Result<wire::SetAttrRequest> times = times_of(arguments);
  if (!times) {
    report("touch",
           arguments.date.empty() ? arguments.stamp : arguments.date,
           reason_of(times.error()));
    return kExitUsage;
  }
  return apply_to_all(
      context, "touch", arguments, [&](Session&, const std::string&) { return times; });
}

// --- truncate ------------------------------------------------------------------------------------

struct SizeChange {
  char sign = '=';  // '+' and '-' are relative
  std::uint64_t bytes = 0;
};

Result<SizeChange> parse_change(std::string_view text) {
  SizeChange change;
  if (text.starts_with('+') || text.starts_with('-')) {
    change.sign = text.front();
    text.remove_prefix(1);
  }
  // K is 1024, as in truncate(1).
  bool is_short = !text.empty() && std::string_view("KMGT").contains(text.back());
  BENCHFS_TRY(change.bytes, parse_size(is_short ? std::string(text) + "iB" : std::string(text)));
  return change;
}

Result<wire::SetAttrRequest> resize_request(Session& session,
                                            const std::string& path,
                                            SizeChange change) {
  wire::SetAttrRequest request;
  request.mask = wire::kSetSize;
  request.size = change.bytes;
  if (change.sign == '=') {
    return request;
  }
  std::uint64_t present = 0;
  Result<wire::Attr> attr = session.run(session.fs().stat(path));
  if (attr) {
    present = attr->size;
  } else if (!attr.error().is_posix(ENOENT)) {
    return std::unexpected(std::move(attr.error()));
  }
  if (change.sign == '-') {
    request.size = present > change.bytes ? present - change.bytes : 0;
  } else if (__builtin_add_overflow(present, change.bytes, &request.size)) {
    return fail_errno(EFBIG);
  }
  return request;
}

int run_truncate(const Context& context, const Arguments& arguments) {
  Result<SizeChange> change = parse_change(arguments.size);
  if (!change) {
    report("truncate", arguments.size, "not a size: write 4096, 64K, 1GiB, +1M or -512");
    return kExitUsage;
  }
  return apply_to_all(
      context, "truncate", arguments, [&](Session& session, const std::string& path) {
        return resize_request(session, path, *change);
      });
}

}  // namespace

void add_touch_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command =
      app.add_subcommand("touch", "Create empty files, or set the times of files");
  command->add_option("FILE", arguments->paths, "Files in BenchFS")->required();
  command->add_flag("-c,--no-create", arguments->no_create, "Do not make missing files");
  command->add_flag("-a", arguments->access_only, "Set only the access time");
  command->add_flag("-m", arguments->modification_only, "Set only the modification time");
  args::Option* date = command->add_option(
      "-d,--date", arguments->date, "YYYY-MM-DD [hh:mm[:ss]][Z] or @SECONDS instead of now");
  command->add_option("-t", arguments->stamp, "[[CC]YY]MMDDhhmm[.SS] instead of now")
      ->excludes(date);
  command->footer(
      "  benchfs touch bfs:/done\n"
      "  benchfs touch -d '2024-11-23 12:00' bfs:/a bfs:/b");
  command->callback([arguments, &context] { context.exit_code = run_touch(context, *arguments); });
}

void add_truncate_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command = app.add_subcommand("truncate", "Shorten or extend files");
  command->add_option("FILE", arguments->paths, "Files in BenchFS")->required();
  command
      ->add_option(
          "-s,--size", arguments->size, "New size; +SIZE and -SIZE change the current size")
      ->required()
      ->type_name("SIZE");
  command->add_flag("-c,--no-create", arguments->no_create, "Do not make missing files");
  command->footer(
      "Added bytes read as zeros and take no space.\n"
      "\n"
      "  benchfs truncate -s 0 bfs:/log\n"
      "  benchfs truncate -s 1GiB bfs:/sparse");
  command->callback(
      [arguments, &context] { context.exit_code = run_truncate(context, *arguments); });
}

}  // namespace benchfs::cli
