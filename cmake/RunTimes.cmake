# benchfs_run_times_inside(TARGET): what it needs of libstdc++, {fmt}, libsodium and libm is in the library or program, which is
# loaded 1 ms faster (docs/adr/0078-run-times-inside.md). Sanitizers want to see libstdc++.
#
# With libgcc_s inside, too, no frame of ours may be unwound by libc, which loads that to end threads: none is cancelled inside
# (src/capi/inside.h).
function(benchfs_run_times_inside target)
  if(BENCHFS_SANITIZE)
    return()
  endif()
  target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src/base/fmt_inside.cc ${CMAKE_SOURCE_DIR}/src/base/libm_inside.cc)
  target_link_libraries(${target} PRIVATE benchfs_flags -l:libsodium.a)
  target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc -Wl,--as-needed)
endfunction()
