# Warnings, sanitizers and compiler cache, the same for every target.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  # ccache takes precompiled headers only when it is told that their times do not matter, and does not
  # preprocess what it does not have when it may read the compiler's list of headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    env CCACHE_DEPEND=1 CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE_PROGRAM})
endif()

add_library(benchfs_flags INTERFACE)
target_compile_options(benchfs_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wswitch-enum
  -Wconversion -Wold-style-cast -Wno-missing-field-initializers
  -fno-omit-frame-pointer)
if(BENCHFS_PRECOMPILE)
  target_compile_options(benchfs_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -fno-pch-timestamp>)
endif()
if(BENCHFS_WERROR)
  target_compile_options(benchfs_flags INTERFACE -Werror)
endif()
if(BENCHFS_SANITIZE)
  target_compile_options(benchfs_flags INTERFACE -fsanitize=${BENCHFS_SANITIZE}
    -fno-sanitize-recover=undefined)
  if(BENCHFS_SANITIZE MATCHES undefined)
    # A quarter of compiling an optimised file, for what the address sanitizer sees anyway.
    target_compile_options(benchfs_flags INTERFACE -fno-sanitize=object-size)
  endif()
  target_link_options(benchfs_flags INTERFACE -fsanitize=${BENCHFS_SANITIZE})
endif()
