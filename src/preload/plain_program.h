// Whether there is nothing to say about a program before it runs under the preload library.
#pragma once

namespace benchfs::preload {

// A 64-bit program for glibc's dynamic linker, without set-user-id, set-group-id, capabilities and
// Go, as far as its headers say. `benchfs run` looks closer at all others.
bool is_plain_program(const char* path);

}  // namespace benchfs::preload
