// What happens when the dynamic linker loads the library, and when the program ends.
#include <pthread.h>

#include "preload/cluster.h"
#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/mappings.h"
#include "preload/opening.h"
#include "preload/places.h"
#include "preload/settings.h"
#include "preload/streams.h"

namespace benchfs::preload {
namespace {

void in_child() {
  forget_cluster();
  leave_pool_to_parent();
  forget_mapping_lock();
  note_fork_of_mappings();
  note_spawn();
}

void in_parent() {
  note_fork_of_mappings();
  note_spawn();
}

__attribute__((constructor)) void start(int, char**, char** environment) {
  read_settings(environment);
  if (!settings().is_active) {
    return;
  }
  pthread_atfork(nullptr, in_parent, in_child);
  prepare_report();
  read_umask();
  adopt_working_directory(find_variable(environment, kDirectoryVariable));
  adopt_inherited();
  for (int fd = 0; fd <= 2; ++fd) {
    sync_streams(fd);
  }
}

__attribute__((destructor)) void end() {
  write_report();
}

}  // namespace
}  // namespace benchfs::preload
