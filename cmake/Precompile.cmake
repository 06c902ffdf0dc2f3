# Precompiled headers, for builds whose time counts (BENCHFS_PRECOMPILE, set by the sanitizer presets): parsing the
# standard library is a third of compiling most files here. The release preset goes without, so that every
# file has to include what it uses.
#
# benchfs_precompile(TARGET KIND) gives a target the headers of its kind:
#   layer  the standard library
#   cli    and CLI11, without optimisation: each file that includes CLI11 holds the code of its validators, and
#          sanitizers make that code large
#   test   and GoogleTest, without optimisation, as tests are compiled in all presets
function(benchfs_precompile target kind)
  if(NOT BENCHFS_PRECOMPILE)
    return()
  endif()
  # Programs would be compiled with -fPIE, and then the headers do not fit.
  target_compile_options(${target} PRIVATE -fPIC)
  if(NOT kind STREQUAL "layer")
    target_compile_options(${target} PRIVATE -O0)
  endif()
  target_precompile_headers(${target} REUSE_FROM benchfs_pch_${kind})
endfunction()

function(benchfs_precompiled_headers kind)
  cmake_parse_arguments(ARG "" "" "LIBS;HEADERS;OPTIONS" ${ARGN})
  add_library(benchfs_pch_${kind} OBJECT ${CMAKE_SOURCE_DIR}/cmake/precompiled.cc)
  target_compile_options(benchfs_pch_${kind} PRIVATE ${ARG_OPTIONS})
  target_link_libraries(benchfs_pch_${kind} PRIVATE benchfs_flags fmt::fmt Threads::Threads ${ARG_LIBS})
  target_precompile_headers(benchfs_pch_${kind} PRIVATE
    ${CMAKE_SOURCE_DIR}/cmake/precompiled.h ${ARG_HEADERS})
endfunction()

if(BENCHFS_PRECOMPILE)
  benchfs_precompiled_headers(layer)
  benchfs_precompiled_headers(cli OPTIONS -O0 HEADERS <CLI/CLI.hpp> <nlohmann/json.hpp>)
  if(BENCHFS_TESTS)
    benchfs_precompiled_headers(test OPTIONS -O0 LIBS GTest::gtest
      HEADERS <gtest/gtest.h> <fstream> <nlohmann/json.hpp>)
  endif()
endif()
