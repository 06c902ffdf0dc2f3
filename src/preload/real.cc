#include "preload/real.h"

#include <dlfcn.h>

#include "preload/together.h"

namespace benchfs::preload::internal {

BENCHFS_TOGETHER Real real_functions;
BENCHFS_TOGETHER bool has_real_functions = false;

void find_real_functions() {
#define BENCHFS_FIND(name) \
  real_functions.name = reinterpret_cast<decltype(&::name)>(dlsym(RTLD_NEXT, #name));
  BENCHFS_REAL_FUNCTIONS(BENCHFS_FIND)
#undef BENCHFS_FIND
  has_real_functions = true;
}

}  // namespace benchfs::preload::internal
