// What happens when the dynamic linker loads the library, and when the program ends.
#include <pthread.h>
#include <sys/single_threaded.h>
#include <time.h>

#include "preload/cluster.h"
#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/left_opens.h"
#include "preload/locks.h"
#include "preload/mappings.h"
#include "preload/opening.h"
#include "preload/places.h"
#include "preload/settings.h"
#include "preload/streams.h"

namespace benchfs::preload {
namespace {

// Longer than connecting takes, if that is what another thread does.
constexpr int kWaitForOthersSeconds = 2;

// What other threads are in the middle of would stay so in the child for ever. In the order in
// which threads take several of these.
void before_fork() {
  if (__libc_single_threaded != 0) [[likely]] {
    return;
  }
  timespec until{};
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += kWaitForOthersSeconds;
  hold_mappings(until);
  hold_cluster(until);
  hold_table(until);
}

void in_child() {
  forget_cluster();
  forget_spawn_actions_lock();
  leave_pool_to_parent();
  forget_left_opens();
  forget_mapping_lock();
  note_fork_of_mappings();
  note_spawn();
}

void in_parent() {
  note_fork_of_mappings();
  let_table_go();
  let_cluster_go();
  let_mappings_go();
  note_spawn();
}

__attribute__((constructor)) void start(int, char**, char** environment) {
  read_settings(environment);
  if (!settings().is_active) {
    return;
  }
  pthread_atfork(before_fork, in_parent, in_child);
  prepare_report();
  read_umask();
  adopt_working_directory(find_variable(environment, kDirectoryVariable));
  adopt_inherited();
  if (highest_descriptor() >= 0) {  // else nothing of what lies elsewhere in the library is needed
    join_locks();
    note_start();
  }
  for (int fd = 0; fd <= 2; ++fd) {
    sync_streams(fd);
  }
}

__attribute__((destructor)) void end() {
  write_report();
}

}  // namespace
}  // namespace benchfs::preload
