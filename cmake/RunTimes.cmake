# benchfs_run_times_inside(TARGET): what it needs of libstdc++, {fmt} and libsodium is in the library or program, which is
# loaded 1 ms faster (docs/adr/0078-run-times-inside.md). Sanitizers want to see libstdc++.
#
# libgcc_s stays outside: libc loads it to end threads, and the frames that it unwinds then are ours, too.
function(benchfs_run_times_inside target)
  if(BENCHFS_SANITIZE)
    return()
  endif()
  target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src/base/fmt_inside.cc)
  target_link_libraries(${target} PRIVATE benchfs_flags -l:libsodium.a)
  target_link_options(${target} PRIVATE -static-libstdc++ -Wl,--as-needed)
endfunction()
