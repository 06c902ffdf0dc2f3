#include "cli/help/completion.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/help/man_page.h"

namespace benchfs::cli {
namespace {

constexpr const char* kBegin = R"sh(# bash completion for benchfs: source <(benchfs completion bash)

# Words that may follow a command: its own commands and options.
_benchfs_words() {
  case $1 in
)sh";

constexpr const char* kEnd = R"sh(  esac
}

_benchfs() {
  local line=${COMP_LINE:0:COMP_POINT} command=benchfs word
  local current=${line##*[[:space:]]}
  COMPREPLY=()
  for word in ${line%"$current"}; do
    if [[ -n $(_benchfs_words "$command $word") ]]; then
      command="$command $word"
    fi
  done
  if [[ $current == bfs:* ]]; then
    # bash breaks words at the colon: what stands before it is not part of the answer.
    local path=${current#bfs:} name
    local directory=${path%/*}/
    [[ $path == */* ]] || directory=/
    while IFS= read -r name; do
      [[ $directory$name == "$path"* ]] && COMPREPLY+=("$directory$name")
    done < <("${COMP_WORDS[0]}" --timeout 1 ls "bfs:$directory" 2>/dev/null)
    compopt -o nospace 2>/dev/null
  elif [[ $current == -* || $command == benchfs ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_benchfs_words "$command")" -- "$current")
  else
    mapfile -t COMPREPLY < <(
      compgen -W "$(_benchfs_words "$command") bfs:/" -- "$current"
      compgen -f -- "$current"
    )
  fi
}
complete -F _benchfs benchfs
)sh";

std::string words_of(const CLI::App& command) {
  std::string words;
  for (const CLI::App* below : command.get_subcommands([](const CLI::App*) { return true; })) {
    words += below->get_group().empty() ? "" : below->get_name() + " ";
  }
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_snames()) {
      words += "-" + name + " ";
    }
    for (const std::string& name : option->get_lnames()) {
      words += "--" + name + " ";
    }
  }
  return words;
}

}  // namespace

std::string bash_completion(CLI::App& app) {
  std::string script = kBegin;
  for (const CLI::App* command : all_commands(app)) {
    script += fmt::format("    '{}') echo '{}' ;;\n", full_name(*command), words_of(*command));
  }
  return script + kEnd;
}

}  // namespace benchfs::cli
