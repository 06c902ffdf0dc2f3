// benchfs ls.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <algorithm>
#include <map>

#include "args/command.h"
#include "cli/files/attr_json.h"
#include "cli/files/commands.h"
#include "cli/files/format.h"
#include "cli/files/listing.h"
#include "cli/files/remote_path.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

struct Arguments {
  std::vector<std::string> paths;
  bool all = false;
  bool long_format = false;
  bool one_per_line = false;
  bool human = false;
  bool recursive = false;
  bool directory = false;
  bool json = false;
};

// One line of the long format; its columns are as wide as their widest entry.
struct LongLine {
  std::string mode, links, user, group, size, time, name;
};

class ListCommand {
 public:
  ListCommand(Session& session, const Arguments& arguments)
      : session_(session),
        arguments_(arguments),
        on_terminal_(isatty(STDOUT_FILENO) == 1),
        needs_attributes_(arguments.long_format || arguments.json) {}

  void run() {
    std::vector<ListedEntry> files;
    std::vector<std::string> directories;
    for (const std::string& argument : arguments_.paths) {
      sort_argument(argument, files, directories);
    }
    if (arguments_.json) {
      print_json(files, directories);
      return;
    }
    print(files);
    bool with_titles = arguments_.paths.size() > 1 || arguments_.recursive;
    for (const std::string& directory : directories) {
      print_directory(directory, with_titles);
    }
  }

 private:
  // Shows the arguments that are files first, then the content of those that are directories.
  void sort_argument(const std::string& argument,
                     std::vector<ListedEntry>& files,
                     std::vector<std::string>& directories) {
    std::optional<std::string> path = session_.remote_path(argument);
    if (!path) {
      return;
    }
    // A symlink to a directory is followed, unless its own attributes are wanted.
    bool own = arguments_.long_format || arguments_.directory;
    Result<wire::Attr> attr =
        own ? session_.run(session_.fs().lstat(*path)) : session_.run(session_.fs().stat(*path));
    if (!attr && !own) {
      attr = session_.run(session_.fs().lstat(*path));  // a dangling symlink is still a file
    }
    if (!attr) {
      session_.fail(argument, attr.error());
      return;
    }
    if (attr->is_directory() && !arguments_.directory) {
      directories.push_back(std::move(*path));
      return;
    }
    ListedEntry entry{argument, attr->mode & S_IFMT, *attr, {}};
    if (attr->is_symlink()) {
      entry.target = session_.run(session_.fs().readlink(*path)).value_or("");
    }
    files.push_back(std::move(entry));
  }

  std::optional<std::vector<ListedEntry>> entries_of(const std::string& directory) {
    Result<std::vector<ListedEntry>> listed = list_directory(
        session_, directory, needs_attributes_ ? WithAttributes::kYes : WithAttributes::kNo);
    if (!listed) {
      session_.fail(to_argument(directory), listed.error());
      return std::nullopt;
    }
    std::vector<ListedEntry> entries;
    if (arguments_.all && !arguments_.json) {
      entries.push_back(ListedEntry{".", S_IFDIR, std::nullopt, {}});
      entries.push_back(ListedEntry{"..", S_IFDIR, std::nullopt, {}});
      if (needs_attributes_) {
        fetch_attributes(session_, directory, entries);
      }
    }
    for (ListedEntry& entry : *listed) {
      bool vanished = needs_attributes_ && !entry.attr;
      if (!vanished && (arguments_.all || !entry.name.starts_with('.'))) {
        entries.push_back(std::move(entry));
      }
    }
    return entries;
  }

  void print_directory(const std::string& directory, bool with_title) {
    std::optional<std::vector<ListedEntry>> entries = entries_of(directory);
    if (!entries) {
      return;
    }
    if (with_title) {
      fmt::print("{}{}:\n", printed_any_ ? "\n" : "", show(to_argument(directory)));
    }
    printed_any_ = true;
    if (arguments_.long_format) {
      print_total(*entries);
    }
    print(*entries);
    if (!arguments_.recursive) {
      return;
    }
    for (const ListedEntry& entry : *entries) {
      if (S_ISDIR(entry.type) && entry.name != "." && entry.name != "..") {
        print_directory(join_path(directory, entry.name), true);
      }
    }
  }

  void print(const std::vector<ListedEntry>& entries) {
    printed_any_ = printed_any_ || !entries.empty();
    if (arguments_.long_format) {
      print_long(entries);
    } else if (on_terminal_ && !arguments_.one_per_line) {
      print_columns(entries);
    } else {
      for (const ListedEntry& entry : entries) {
        fmt::print("{}\n", show(entry.name));
      }
    }
  }

  void print_total(const std::vector<ListedEntry>& entries) {
    std::uint64_t bytes = 0;
    for (const ListedEntry& entry : entries) {
      bytes += entry.attr ? entry.attr->size : 0;
    }
    fmt::print("total {}\n",
               arguments_.human ? format_human(bytes)
                                : fmt::to_string(bytes / 1024 + (bytes % 1024 != 0)));
  }

  void print_long(const std::vector<ListedEntry>& entries) {
    std::vector<LongLine> lines;
    std::array<std::size_t, 4> width{};
    for (const ListedEntry& entry : entries) {
      LongLine line = long_line(entry);
      width[0] = std::max(width[0], line.links.size());
      width[1] = std::max(width[1], line.user.size());
      width[2] = std::max(width[2], line.group.size());
      width[3] = std::max(width[3], line.size.size());
      lines.push_back(std::move(line));
    }
    for (const LongLine& line : lines) {
      fmt::print("{} {:>{}} {:<{}} {:<{}} {:>{}} {} {}\n",
                 line.mode,
                 line.links,
                 width[0],
                 line.user,
                 width[1],
                 line.group,
                 width[2],
                 line.size,
                 width[3],
                 line.time,
                 line.name);
    }
  }

  LongLine long_line(const ListedEntry& entry) {
    wire::Attr attr = entry.attr.value_or(wire::Attr{});
    LongLine line;
    line.mode = format_mode(attr.mode);
    line.links = fmt::to_string(attr.nlink);
    line.user = cached(users_, attr.uid, user_name);
    line.group = cached(groups_, attr.gid, group_name);
    line.size = arguments_.human ? format_human(attr.size) : fmt::to_string(attr.size);
    line.time = format_list_time(attr.mtime_ns);
    line.name = show(entry.name);
    if (attr.is_symlink()) {
      line.name += " -> " + show(entry.target);
    }
    return line;
  }

  void print_columns(const std::vector<ListedEntry>& entries) {
    winsize size{};
    std::size_t columns =
        ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    std::size_t widest = 1;
    for (const ListedEntry& entry : entries) {
      widest = std::max(widest, display_width(entry.name));
    }
    std::size_t per_line = std::max<std::size_t>(1, (columns + 2) / (widest + 2));
    std::size_t lines = (entries.size() + per_line - 1) / per_line;
    for (std::size_t line = 0; line < lines; ++line) {
      std::string text;
      for (std::size_t i = line; i < entries.size(); i += lines) {
        text += show(entries[i].name);
        if (i + lines < entries.size()) {
          text.append(widest + 2 - display_width(entries[i].name), ' ');
        }
      }
      fmt::print("{}\n", text);
    }
  }

  void print_json(const std::vector<ListedEntry>& files,
                  const std::vector<std::string>& directories) {
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const ListedEntry& file : files) {
      json.push_back(to_json(file.name, *file.attr, file.target));
    }
    for (const std::string& directory : directories) {
      append_json(directory, json);
    }
    fmt::print("{}\n", dump_json(json));
  }

  // The name of an entry is a complete argument, so that it can be passed to another command.
  void append_json(const std::string& directory, nlohmann::ordered_json& json) {
    std::optional<std::vector<ListedEntry>> entries = entries_of(directory);
    if (!entries) {
      return;
    }
    for (const ListedEntry& entry : *entries) {
      std::string path = join_path(directory, entry.name);
      json.push_back(to_json(to_argument(path), *entry.attr, entry.target));
      if (arguments_.recursive && S_ISDIR(entry.type)) {
        append_json(path, json);
      }
    }
  }

  // Programs get the bytes of a name unchanged, a terminal gets only printable characters.
  [[nodiscard]] std::string show(std::string_view name) const {
    return on_terminal_ ? printable(name) : std::string(name);
  }

  template <typename Lookup>
  static const std::string& cached(std::map<std::uint32_t, std::string>& names,
                                   std::uint32_t id,
                                   Lookup lookup) {
    auto [found, is_new] = names.try_emplace(id);
    if (is_new) {
      found->second = lookup(id);
    }
    return found->second;
  }

  Session& session_;
  const Arguments& arguments_;
  bool on_terminal_;
  bool needs_attributes_;
  bool printed_any_ = false;
  std::map<std::uint32_t, std::string> users_;
  std::map<std::uint32_t, std::string> groups_;
};

int run_ls(const Context& context, const Arguments& arguments) {
  std::optional<Session> session = Session::open(context, "ls");
  if (!session) {
    return kExitFailed;
  }
  ListCommand(*session, arguments).run();
  report_losses(*session);
  return session->exit_code();
}

}  // namespace

void add_ls_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  arguments->paths = {"bfs:/"};
  args::Command* command = app.add_subcommand("ls", "List directories");
  command->set_help_flag("--help", "Print this help message and exit");
  command->add_option("PATH", arguments->paths, "Files and directories in BenchFS")
      ->capture_default_str();
  command->add_flag("-l", arguments->long_format, "Show mode, owner, size and time");
  command->add_flag("-a,--all", arguments->all, "Also list names that begin with a dot");
  command->add_flag("-1", arguments->one_per_line, "Print one name per line, even on a terminal");
  command->add_flag("-h,--human-readable", arguments->human, "Sizes such as 1.5K and 2G");
  command->add_flag("-R,--recursive", arguments->recursive, "List subdirectories recursively");
  command->add_flag("-d,--directory", arguments->directory, "Directories themselves");
  command->add_flag("--json", arguments->json, "One JSON array with all attributes");
  command->footer(
      "  benchfs ls -lh bfs:/results\n"
      "  benchfs ls -R --json bfs:/ | jq '.[].size'");
  command->callback([arguments, &context] { context.exit_code = run_ls(context, *arguments); });
}

}  // namespace benchfs::cli
