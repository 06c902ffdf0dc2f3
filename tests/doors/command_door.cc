#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "doors/doors.h"

namespace benchfs::test {
namespace {

// What a shell or JSON would not show as it is stays with the other door, and so do ends like "/.":
// commands have rules of their own for them.
bool is_plain(std::string_view path) {
  return path.starts_with('/') && !path.ends_with('/') && !path.ends_with('.') &&
         std::ranges::all_of(path, [](char byte) { return byte >= 0x20 && byte < 0x7f; });
}

int error_in(std::string_view line) {
  while (line.ends_with('\n')) {
    line.remove_suffix(1);
  }
  static const std::map<std::string_view, int> kOwnWords = {
      {"not a symbolic link", EINVAL},
      {"cannot be moved into itself", EINVAL},
      {"is a directory (-r removes directories)", EISDIR},
  };
  for (const auto& [words, error] : kOwnWords) {
    if (line.ends_with(words)) {
      return error;
    }
  }
  for (int error = 1; error < 134; ++error) {
    const char* words = strerrordesc_np(error);  // there are gaps
    if (words != nullptr && line.ends_with(std::string(": ") + words)) {
      return error;
    }
  }
  return 0;
}

timespec time_in(const nlohmann::json& attributes, const char* name) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  auto ns = attributes[name].get<std::int64_t>();
  std::int64_t seconds = ns / kSecond - (ns % kSecond < 0);
  return {seconds, ns - seconds * kSecond};
}

unsigned type_of(const nlohmann::json& attributes) {
  static const std::map<std::string, unsigned> kTypes = {
      {"directory", S_IFDIR}, {"regular file", S_IFREG}, {"symbolic link", S_IFLNK}};
  auto found = kTypes.find(attributes["type"].get<std::string>());
  return found == kTypes.end() ? 0 : found->second;
}

struct Attributes {
  std::uint64_t st_ino, st_uid, st_gid;
  timespec st_atim, st_mtim, st_ctim;
};

}  // namespace

Outcome CommandDoor::run(std::vector<std::string> arguments) {
  std::string name = arguments.front();
  Ended ended = run_(std::move(arguments));
  if (ended.exit_code == 0) {
    return {0, std::move(ended.out)};
  }
  int error = error_in(ended.err);
  return error != 0 ? Outcome{-error, {}}
                    : Outcome{-9999, fmt::format("{} {}: {}", name, ended.exit_code, ended.err)};
}

Outcome CommandDoor::call(const Call& call) {
  std::size_t paths = call.operation == Operation::kRename || call.operation == Operation::kLink ||
                              call.operation == Operation::kRenameWithoutReplacing
                          ? 2
                          : 1;
  bool is_symlink = call.operation == Operation::kSymlink;
  if (call.is_of_open_file() || call.operation == Operation::kOpen ||
      !std::all_of(call.texts.begin() + is_symlink,
                   call.texts.begin() + is_symlink + static_cast<std::ptrdiff_t>(paths),
                   is_plain)) {
    return {kNotHere, {}};
  }
  return call.reads_by_path() ? look(call) : change(call);
}

Outcome CommandDoor::change(const Call& call) {
  std::string path = argument(call.path());
  std::string second = argument(call.texts[1]);
  // A command puts things into a directory that is there.
  auto is_directory = [this](const std::string& place) {
    Outcome found = run({"stat", "-L", "--json", place});
    return found.result == 0 && found.data.contains("\"directory\"");
  };
  Operation operation = call.operation;
  if (operation == Operation::kMkdir) {
    return run({"mkdir", "-m", fmt::format("{:o}", call.numbers[0]), path});
  }
  if (operation == Operation::kRmdir) {
    return run({"rmdir", path});
  }
  if (operation == Operation::kUnlink) {
    return run({"rm", path});
  }
  if (operation == Operation::kChmod) {
    return run({"chmod", fmt::format("{:o}", call.numbers[0]), path});
  }
  if (operation == Operation::kTruncate && call.numbers[0] >= 0) {
    Outcome found = run({"stat", "-L", "--json", path});  // a missing file is no error of truncate
    return found.result < 0 ? found
                            : run({"truncate", "-c", "-s", fmt::to_string(call.numbers[0]), path});
  }
  static const std::map<Operation, std::vector<std::string>> kWithTwoNames = {
      {Operation::kRename, {"mv"}},
      {Operation::kRenameWithoutReplacing, {"mv", "-n"}},
      {Operation::kLink, {"ln"}},
      {Operation::kSymlink, {"ln", "-s"}}};
  auto found = kWithTwoNames.find(operation);
  if (found == kWithTwoNames.end() || is_directory(second)) {
    return {kNotHere, {}};
  }
  std::vector<std::string> words = found->second;
  words.push_back(operation == Operation::kSymlink ? call.texts[0] : path);
  words.push_back(second);
  return run(std::move(words));
}

Outcome CommandDoor::look(const Call& call) {
  std::string path = argument(call.path());
  Operation operation = call.operation;
  if (operation == Operation::kReadlink) {
    Outcome target = run({"readlink", path});
    if (target.result == 0) {
      target.data.pop_back();
      target.result = static_cast<std::int64_t>(target.data.size());
    }
    return target;
  }
  if (operation == Operation::kReaddir) {
    return entries_of(path);
  }
  if (operation == Operation::kPeek) {
    Outcome found = attributes_of({Operation::kStat, {}, call.texts});
    if (found.result < 0) {
      return found;
    }
    Outcome bytes = run({"cat", path});
    if (bytes.result == 0) {
      bytes.result = static_cast<std::int64_t>(bytes.data.size());
    }
    bytes.data = found.data + "\n" + bytes.data;
    return bytes;
  }
  bool has_attributes = operation == Operation::kStat || operation == Operation::kLstat ||
                        operation == Operation::kTimes || operation == Operation::kExact;
  return has_attributes ? attributes_of(call) : Outcome{kNotHere, {}};
}

Outcome CommandDoor::attributes_of(const Call& call) {
  std::vector<std::string> words = {"stat", "--json", argument(call.path())};
  if (call.operation == Operation::kStat || call.operation == Operation::kTimes) {
    words.insert(words.begin() + 1, "-L");
  }
  Outcome found = run(std::move(words));
  if (found.result < 0) {
    return found;
  }
  nlohmann::json one = nlohmann::json::parse(found.data)[0];
  timespec accessed = time_in(one, "atime_ns");
  timespec modified = time_in(one, "mtime_ns");
  if (call.operation == Operation::kTimes) {
    return {0, describe_time(accessed) + " " + describe_time(modified)};
  }
  if (call.operation == Operation::kExact) {
    return {
        0,
        describe_exactly(Attributes{
            one["inode"], one["uid"], one["gid"], accessed, modified, time_in(one, "ctime_ns")})};
  }
  auto mode = static_cast<unsigned>(std::stoul(one["mode"].get<std::string>(), nullptr, 8));
  return {0, describe(mode | type_of(one), one["size"], one["nlink"])};
}

Outcome CommandDoor::entries_of(const std::string& path) {
  Outcome found = run({"stat", "-L", "--json", path});
  if (found.result < 0 || !found.data.contains("\"directory\"")) {
    return {found.result < 0 ? found.result : -ENOTDIR, {}};
  }
  Outcome listed = run({"ls", "-a", "--json", path});
  if (listed.result < 0) {
    return listed;
  }
  std::map<std::string, unsigned> entries;
  for (const nlohmann::json& one : nlohmann::json::parse(listed.data)) {
    auto name = one["name"].get<std::string>();
    if (!is_plain("/" + name)) {
      return {kNotHere, {}};
    }
    entries.emplace(name.substr(name.rfind('/') + 1), type_of(one));
  }
  Outcome outcome{static_cast<std::int64_t>(entries.size()), {}};
  for (const auto& [name, type] : entries) {
    outcome.data += fmt::format("{:o} {}\n", type, name);
  }
  return outcome;
}

}  // namespace benchfs::test
