#include "history/names.h"

#include <algorithm>
#include <cerrno>

namespace benchfs::history {
namespace {

// Entries: inodes from 1, files of unknown inode from kUnnamed, directories below 0.
constexpr std::int16_t kUnnamed = 8192;

std::string directory_part(const std::string& path) {
  std::size_t slash = path.find('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string last_part(const std::string& path) {
  std::size_t slash = path.find('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

bool is_on_directories(const Operation& operation) {
  return operation.kind == Kind::kMakeDirectory || operation.kind == Kind::kRemoveDirectory ||
         (operation.kind == Kind::kRename && directory_part(operation.path).empty());
}

bool is_on_names(const Operation& operation) {
  return operation.kind <= Kind::kTruncate;
}

bool overlap(const Operation& a, const Operation& b) {
  std::int64_t a_end = a.is_unknown() ? kNever : a.end;
  std::int64_t b_end = b.is_unknown() ? kNever : b.end;
  return a.begin <= b_end && b.begin <= a_end;
}

}  // namespace

std::uint64_t Names::State::hash() const {
  std::uint64_t hash = 1;
  auto add = [&hash](std::uint64_t value) { hash = mix64(hash ^ value) + 1; };
  for (std::size_t i = 0; i < entries.size(); ++i) {
    add(is_directory_alive[i] ? 1 : 0);
    for (Entry entry : entries[i]) {
      add(static_cast<std::uint16_t>(entry));
    }
  }
  for (std::size_t i = 0; i < was_created.size(); ++i) {
    if (was_created[i]) {
      add(i);
    }
  }
  for (const auto& [step, directories] : resolved) {
    add(step);
    for (std::int16_t directory : directories) {
      add(static_cast<std::uint16_t>(directory));
    }
  }
  for (auto [rename, directory] : renamed) {
    add(rename);
    add(static_cast<std::uint16_t>(directory));
  }
  return hash;
}

Names::Names(std::vector<Operation> operations) : operations_(std::move(operations)) {
  std::erase_if(operations_, [](const Operation& operation) { return !is_on_names(operation); });
  std::ranges::sort(operations_, {}, &Operation::begin);
  std::int16_t directories = 1;
  for (const Operation& operation : operations_) {
    bool makes = operation.kind == Kind::kMakeDirectory && !operation.was_refused();
    directory_of_operation_.push_back(makes ? directories : kNoDirectory);
    directories = static_cast<std::int16_t>(directories + (makes ? 1 : 0));
    for (const std::string& path : {operation.path, operation.target}) {
      for (const std::string& name : {directory_part(path), last_part(path)}) {
        if (!name.empty()) {
          name_index(name);
        }
      }
    }
    for (const auto& [name, inode] : operation.entries) {
      name_index(name);
      inode_index(inode);
    }
    if (operation.inode != 0) {
      inode_index(operation.inode);
    }
  }
  initial.entries.assign(static_cast<std::size_t>(directories),
                         std::vector<Entry>(names_.size(), kNothing));
  initial.is_directory_alive.assign(static_cast<std::size_t>(directories), false);
  initial.is_directory_alive[0] = true;
  initial.was_created.assign(inodes_.size() + 1, false);
  for (std::size_t i = 0; i < operations_.size(); ++i) {
    places_.push_back({place(operations_[i].path, i), place(operations_[i].target, i)});
    add_steps(i);
  }
  std::ranges::sort(steps, {}, &Step::begin);
}

std::size_t Names::name_index(const std::string& name) {
  return names_.try_emplace(name, names_.size()).first->second;
}

Names::Entry Names::inode_index(std::uint64_t inode) {
  return inodes_.try_emplace(inode, static_cast<Entry>(inodes_.size() + 1)).first->second;
}

Names::Place Names::place(const std::string& path, std::size_t operation) const {
  if (path.empty()) {
    return {};
  }
  std::string directory = directory_part(path);
  return {.directory = directory.empty() ? 0 : names_.at(directory),
          .name = names_.at(last_part(path)),
          .is_at_top = directory.empty(),
          .is_contested = is_contested(directory, operation)};
}

bool Names::is_contested(const std::string& directory, std::size_t operation) const {
  return !directory.empty() && std::ranges::any_of(operations_, [&](const Operation& other) {
    return &other != &operations_[operation] && is_on_directories(other) && !other.was_refused() &&
           (other.path == directory || other.target == directory) &&
           overlap(other, operations_[operation]);
  });
}

void Names::add_steps(std::size_t index) {
  const Operation& operation = operations_[index];
  bool is_known = !operation.is_unknown();
  std::int64_t end = is_known ? operation.end : kNever;
  if (operation.kind == Kind::kTruncate && operation.succeeded()) {
    return;  // does not tell which file it met
  }
  Step act{operation.begin, end, is_known, index, -1, kCurrent, 0};
  bool changes = operation.kind != Kind::kStat && operation.kind != Kind::kTruncate &&
                 operation.kind != Kind::kList &&
                 (operation.kind != Kind::kOpen || (operation.flags & kCreate) != 0);
  if (!is_known && !changes) {
    return;
  }
  if (operation.kind == Kind::kList) {
    // Its entries are seen one by one; only where the directory itself stays is that simple.
    if (!operation.succeeded() || is_contested(operation.path, index)) {
      return;
    }
    for (const auto& [name, number] : names_) {
      act.entry = number;
      steps.push_back(act);
    }
    return;
  }
  // The operation itself cannot come before one of these for each of its paths.
  for (int which : {0, 1}) {
    if (!places_[index][static_cast<std::size_t>(which)].is_contested) {
      continue;
    }
    const std::string directory = directory_part(which == 0 ? operation.path : operation.target);
    steps.push_back({operation.begin, kNever, false, index, which, kCurrent, 0});
    for (std::size_t other = 0; other < operations_.size(); ++other) {
      const Operation& rename = operations_[other];
      if (rename.kind == Kind::kRename && rename.path == directory && !rename.was_refused() &&
          overlap(rename, operation)) {
        steps.push_back({operation.begin, kNever, false, index, which, other, 0});
      }
    }
  }
  steps.push_back(act);
}

std::int16_t Names::look_up(const State& state, const Place& place) const {
  if (place.is_at_top) {
    return 0;
  }
  Entry entry = state.entries[0][place.directory];
  return entry < 0 ? static_cast<std::int16_t>(-entry) : kNoDirectory;
}

// kUnresolved when the look-up must come first.
std::int16_t Names::directory_of(const State& state, const Step& step, std::size_t which) const {
  const Place& place = places_[step.operation][which];
  if (!place.is_contested) {
    return look_up(state, place);
  }
  auto found = state.resolved.find(step.operation);
  std::int16_t id = found == state.resolved.end() ? kUnresolved : found->second[which];
  bool is_gone = id >= 0 && !state.is_directory_alive[static_cast<std::size_t>(id)];
  return is_gone ? kNoDirectory : id;
}

Effect Names::resolve(State& state, const Step& step) const {
  auto which = static_cast<std::size_t>(step.resolves);
  auto [found, is_first] = state.resolved.try_emplace(step.operation, 2, kUnresolved);
  if (found->second.empty() || found->second[which] != kUnresolved) {
    return Effect::kRefused;
  }
  if (step.before_rename == kCurrent) {
    found->second[which] = look_up(state, places_[step.operation][which]);
    return Effect::kChanged;
  }
  auto before = state.renamed.find(step.before_rename);
  if (before == state.renamed.end()) {
    return Effect::kRefused;
  }
  found->second[which] = before->second;
  return Effect::kChanged;
}

Effect Names::apply(State& state, std::size_t index) const {
  const Step& step = steps[index];
  const Operation& operation = operations_[step.operation];
  const std::array<Place, 2>& places = places_[step.operation];
  if (step.resolves >= 0) {
    return resolve(state, step);
  }
  if (operation.kind == Kind::kList) {
    Entry of = state.entries[0][places[0].name];
    return list(state, of < 0 ? static_cast<std::int16_t>(-of) : kNoDirectory, step);
  }
  std::int16_t directory = directory_of(state, step, 0);
  std::int16_t to = directory_of(state, step, 1);
  if (directory == kUnresolved || to == kUnresolved) {
    return Effect::kRefused;
  }
  bool was_resolved = state.resolved.contains(step.operation);
  if (was_resolved) {
    state.resolved[step.operation].clear();
  }
  auto effect = [&] {
    if (directory == kNoDirectory || to == kNoDirectory) {
      return operation.result == -ENOENT ? Effect::kSeen : Effect::kRefused;
    }
    Entry& entry = state.entries[static_cast<std::size_t>(directory)][places[0].name];
    switch (operation.kind) {
      case Kind::kOpen:
        return open(state, entry, step.operation);
      case Kind::kStat:
      case Kind::kTruncate:
        return find(state, entry, step.operation);
      case Kind::kUnlink:
        return remove(state, entry, operation);
      case Kind::kRename:
        return rename(state,
                      entry,
                      state.entries[static_cast<std::size_t>(to)][places[1].name],
                      step.operation);
      case Kind::kMakeDirectory:
        return make_directory(state, entry, step.operation);
      case Kind::kRemoveDirectory:
        return remove_directory(state, entry, operation);
      case Kind::kList:
      case Kind::kFileTruncate:
      case Kind::kWrite:
      case Kind::kAppend:
      case Kind::kRead:
      case Kind::kFileStat:
      case Kind::kSync:
      case Kind::kClose:
        break;
    }
    return Effect::kRefused;
  }();
  // It has used up what its path was found to lead through.
  return was_resolved && effect == Effect::kSeen ? Effect::kChanged : effect;
}

// A file that is there must be the one that was found. Its inode becomes known by that.
Effect Names::find(State& state, Entry& entry, std::size_t index) const {
  const Operation& operation = operations_[index];
  if (!operation.succeeded()) {
    return operation.result == -ENOENT && entry == kNothing ? Effect::kSeen : Effect::kRefused;
  }
  if (entry == kNothing) {
    return Effect::kRefused;
  }
  if (entry < 0 || operation.inode == 0) {
    return Effect::kSeen;
  }
  Entry inode = inodes_.at(operation.inode);
  if (entry >= kUnnamed && !state.was_created[static_cast<std::size_t>(inode)]) {
    entry = inode;
    state.was_created[static_cast<std::size_t>(inode)] = true;
    return Effect::kChanged;
  }
  return entry == inode ? Effect::kSeen : Effect::kRefused;
}

Effect Names::open(State& state, Entry& entry, std::size_t index) const {
  const Operation& operation = operations_[index];
  bool creates = (operation.flags & kCreate) != 0;
  bool is_exclusive = creates && (operation.flags & kExclusive) != 0;
  if (operation.was_refused()) {
    if (operation.result == -EEXIST) {
      return is_exclusive && entry != kNothing ? Effect::kSeen : Effect::kRefused;
    }
    return !creates && operation.result == -ENOENT && entry == kNothing ? Effect::kSeen
                                                                        : Effect::kRefused;
  }
  if (!creates || (entry != kNothing && !is_exclusive)) {
    return operation.succeeded() ? find(state, entry, index) : Effect::kRefused;
  }
  if (entry != kNothing) {
    return Effect::kRefused;
  }
  if (!operation.succeeded() || operation.inode == 0) {
    entry = static_cast<Entry>(kUnnamed + index);
    return Effect::kChanged;
  }
  Entry inode = inodes_.at(operation.inode);
  if (state.was_created[static_cast<std::size_t>(inode)]) {
    return Effect::kRefused;
  }
  state.was_created[static_cast<std::size_t>(inode)] = true;
  entry = inode;
  return Effect::kChanged;
}

Effect Names::remove(const State&, Entry& entry, const Operation& operation) const {
  if (operation.was_refused()) {
    return operation.result == -ENOENT && entry == kNothing ? Effect::kSeen : Effect::kRefused;
  }
  if (entry <= kNothing) {
    return Effect::kRefused;
  }
  entry = kNothing;
  return Effect::kChanged;
}

Effect Names::rename(State& state, Entry& from, Entry& to, std::size_t index) const {
  const Operation& operation = operations_[index];
  auto is_full = [&](Entry entry) {
    return entry < 0 && std::ranges::any_of(
                            state.entries[static_cast<std::size_t>(-entry)],
                            [](Entry e) { return e != kNothing; });
  };
  if (operation.was_refused()) {
    bool fits = (operation.result == -ENOENT && from == kNothing) ||
                ((operation.result == -ENOTEMPTY || operation.result == -EEXIST) && is_full(to));
    return fits ? Effect::kSeen : Effect::kRefused;
  }
  if (&from == &to && from != kNothing) {
    return Effect::kSeen;  // its directory was renamed between the two look-ups
  }
  if (from == kNothing || is_full(to)) {
    return Effect::kRefused;
  }
  if (to < 0) {
    state.is_directory_alive[static_cast<std::size_t>(-to)] = false;
  }
  if (from < 0) {
    state.renamed[index] = static_cast<std::int16_t>(-from);
  }
  to = from;
  from = kNothing;
  return Effect::kChanged;
}

Effect Names::make_directory(State& state, Entry& entry, std::size_t index) const {
  if (operations_[index].was_refused()) {
    return operations_[index].result == -EEXIST && entry != kNothing ? Effect::kSeen
                                                                     : Effect::kRefused;
  }
  if (entry != kNothing) {
    return Effect::kRefused;
  }
  std::int16_t directory = directory_of_operation_[index];
  entry = static_cast<Entry>(-directory);
  state.is_directory_alive[static_cast<std::size_t>(directory)] = true;
  return Effect::kChanged;
}

Effect Names::remove_directory(State& state, Entry& entry, const Operation& operation) const {
  bool is_full = entry < 0 && std::ranges::any_of(
                                  state.entries[static_cast<std::size_t>(-entry)],
                                  [](Entry e) { return e != kNothing; });
  if (operation.was_refused()) {
    bool fits = (operation.result == -ENOENT && entry == kNothing) ||
                (operation.result == -ENOTEMPTY && is_full);
    return fits ? Effect::kSeen : Effect::kRefused;
  }
  if (entry >= 0 || is_full) {
    return Effect::kRefused;
  }
  state.is_directory_alive[static_cast<std::size_t>(-entry)] = false;
  entry = kNothing;
  return Effect::kChanged;
}

Effect Names::list(State& state, std::int16_t directory, const Step& step) const {
  if (directory == kNoDirectory) {
    return Effect::kRefused;
  }
  const Operation& operation = operations_[step.operation];
  Entry& entry = state.entries[static_cast<std::size_t>(directory)][step.entry];
  auto found = std::ranges::find_if(
      operation.entries, [&](const auto& one) { return names_.at(one.first) == step.entry; });
  if (found == operation.entries.end()) {
    return entry == kNothing ? Effect::kSeen : Effect::kRefused;
  }
  Entry inode = inodes_.at(found->second);
  if (entry >= kUnnamed && !state.was_created[static_cast<std::size_t>(inode)]) {
    entry = inode;
    state.was_created[static_cast<std::size_t>(inode)] = true;
    return Effect::kChanged;
  }
  return entry == inode ? Effect::kSeen : Effect::kRefused;
}

}  // namespace benchfs::history
