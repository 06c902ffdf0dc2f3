// Variables that most processes write. They lie together, because the first write to a page costs a
// fault, and another one in the parent and in the child of each fork.
#pragma once

#define BENCHFS_TOGETHER __attribute__((section("benchfs_together")))
